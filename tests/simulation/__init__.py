"""The seeded simulation of the pure core, judged by an oracle that shares no idea with it."""
