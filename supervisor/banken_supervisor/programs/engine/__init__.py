"""The pure part of the programs: it decides which program starts, stops or is given up, and when."""
