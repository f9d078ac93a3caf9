"""What stores on SQL databases share: tables as data, statements, rows and port values.

There is no driver and no I/O here: a connection is anything whose ``execute(sql, parameters)``
gives a cursor, as those of SQLite and psycopg do.
"""
