"""Runs the unit tests beside this file and reports them as CMocka does, for tests/run to count. Ends with how many failed."""

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "python"), str(HERE)]


class Report(unittest.TestResult):
    """A line a test. Where a module, a class or a subtest fails, its test has failed."""

    def startTest(self, test):
        super().startTest(test)
        print(f"[ RUN      ] {test.id()}", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        print(f"[       OK ] {test.id()}")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"{reason}\n[  SKIPPED ] {test.id()}")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        print(f"{self.failures[-1][1]}\n[  FAILED  ] {test.id()}")

    def addError(self, test, err):
        super().addError(test, err)
        print(f"{self.errors[-1][1]}\n[  FAILED  ] {test.id()}")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.addFailure(test, err)


result = unittest.defaultTestLoader.discover(str(HERE)).run(Report())
print(f"[==========] {result.testsRun} test(s) run.")
sys.exit(min(len(result.failures) + len(result.errors), 100))
