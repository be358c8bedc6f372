"""Work in a forked process."""

import multiprocessing


def in_fork(function):
    """What a forked process gets from `function`: its value, or the text of its error."""
    here, there = multiprocessing.get_context("fork").Pipe()

    def work():
        try:
            there.send(function())
        except Exception as error:
            there.send(f"{type(error).__name__}: {error}")

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    assert here.poll(30)
    answer = here.recv()
    process.join()
    return answer
