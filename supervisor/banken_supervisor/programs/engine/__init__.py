"""The pure part of the programs: it decides what is started, stopped and given up, and when."""
