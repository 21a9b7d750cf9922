"""Reads what is complete and delivers what was read: any number of these processes, on any machine that shares the store."""
