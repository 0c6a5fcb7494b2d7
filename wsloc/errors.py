"""The two kinds of error that wsloc raises on purpose."""


class UserError(Exception):
    """Something the user can mend: a missing folder, a wrong flag, weights of another network.

    The message is one sentence that says what is wrong and what to do. The command line prints
    it to standard error and exits with status 2, without a traceback.
    """


class ItemError(Exception):
    """One image, or one (image, class) pair, that cannot be processed.

    The pipeline records it as a failure of that item and goes on.
    """
