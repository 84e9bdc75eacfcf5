"""What members say to each other, generated from `proto/orchestrator/store/v1`."""
