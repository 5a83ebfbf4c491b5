"""Load through the SDK: chat logs played back, and benchmarks; each says what its readers' side has checked."""
