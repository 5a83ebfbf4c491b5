"""What clients see when things break: scenarios on a real local cluster, judged from the readers' side."""
