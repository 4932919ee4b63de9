"""Running many trials: the driver, its schedule, and the executors for this machine, Ray and SLURM."""
