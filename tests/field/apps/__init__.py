"""The programs. Each runs in the test's directory and imports of banken what a worker may."""
