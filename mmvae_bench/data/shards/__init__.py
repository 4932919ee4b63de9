"""Generated and prepared images on disk, in shards: made in parallel, resumed by shard, checked by checksum."""
