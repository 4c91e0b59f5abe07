"""Keys of workers and supervisors for tcp: the directory that they are kept in, and what each may do."""
