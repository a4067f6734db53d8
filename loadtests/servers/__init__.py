"""The servers under test and the machine they run on."""
