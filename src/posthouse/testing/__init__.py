"""For tests, ours and those of people who build on Posthouse: real servers, contract suites, simulated parts."""
