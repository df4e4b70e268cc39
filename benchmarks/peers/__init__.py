"""The others, each as its own documentation has it; small applications of ours, for one route."""
