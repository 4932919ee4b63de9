"""What an experiment tracker is told of a trial: names of metrics, and the runs that take them. Free of torch."""
