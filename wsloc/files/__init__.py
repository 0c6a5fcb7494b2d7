"""Files and folders, safely: whole or not there, named for every file system, held by one process."""
