"""Exit statuses of the `lepton` command; 0 is success."""

EXIT_DIFFERENT = 1  # it ran, and the results are not as they should be
EXIT_USER_ERROR = 2  # as argparse's
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
