import pytest

from thurn_server import Thurn


@pytest.fixture
def make_thurn():
    """Makes servers with settings of their own; all are ended and removed."""
    made = []

    def make(settings=None, start=True, **options):
        t = Thurn(settings, **options)
        made.append(t)
        return t.start() if start else t

    yield make
    for t in made:
        try:
            if t.process and t.process.poll() is None:
                t.stop()
        finally:
            t.remove()


@pytest.fixture
def thurn(make_thurn):
    """A server with the accounts alice and bob of example.test."""
    return make_thurn()


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    server = item.funcargs.get("thurn")
    if report.when == "call" and report.failed and server:
        report.sections.append(("thurn's log", server.log_text()[-6000:]))
