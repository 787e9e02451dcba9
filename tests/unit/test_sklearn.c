/* test_sklearn.c: NumPy loads what `encode` writes, and a logistic regression of scikit-learn's on it finds
 * what `probe` finds. Skipped where no Python has scikit-learn. */
#include "commands.h"
#include "json.h"
#include "samples.h"
#include "shell.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* What two optimisers, and features in single or double precision, may differ by; in shares of the images. */
#define TOLERANCE 0.015

static char folder[512];

static const char script[] =
    "import sys\n"
    "import numpy\n"
    "from sklearn.linear_model import LogisticRegression\n"
    "from sklearn.preprocessing import StandardScaler\n"
    "\n"
    "def load(split):\n"
    "    x, y = numpy.load(split + '.npy'), numpy.load(split + '.labels.npy')\n"
    "    assert x.dtype == numpy.float32 and x.ndim == 2 and numpy.isfinite(x).all()\n"
    "    assert y.dtype == numpy.int64 and y.shape == x.shape[:1]\n"
    "    return x, y\n"
    "\n"
    "(x, y), (test_x, test_y) = load('train'), load('test')\n"
    "scale = StandardScaler().fit(x)\n"
    "model = LogisticRegression(C=1, max_iter=2000).fit(scale.transform(x), y)\n"
    "accuracy = model.score(scale.transform(test_x), test_y)\n"
    "print('{\"accuracy\": %.9g, \"images\": %d}' % (accuracy, len(test_y)))\n";

static void runs(const char *what)
{
    if (shell("cd %s && %s", folder, what))
        fail_msg("failed: %s\n%s", what, read_whole(scratch_path("log"), &(size_t){0}));
}

/* A number of the object on a file's last line. */
static double number_in(const char *name, const char *key)
{
    size_t count;
    char *text = read_whole(scratch_path(name), &count), *last = NULL;
    if (count > 0 && text[count - 1] == '\n')
        text[count - 1] = '\0';
    last = strrchr(text, '\n');
    Json j = json_read(strdup(last ? last + 1 : text));
    double value = json_number(&j, 0, key);
    json_free(&j);
    free(text);
    return value;
}

static void encode_and_probe_agree(void **state)
{
    (void)state;
    char command[1024];
    const char *python = wanted(find_python("sklearn"));
    snprintf(folder, sizeof folder, "%s", scratch_path("."));
    assert_int_equal(shell("%s specs/tiny.yaml -o %s/tiny --gen-dir %s/c", amdimc_path(), folder, folder), 0);
    scratch_write("regression.py", script, strlen(script));
    runs("./tiny train --out run --steps 300 --seed 2");
    runs("./tiny encode --weights run/last.safetensors --split train -o train.npy");
    runs("./tiny encode --weights run/last.safetensors -o test.npy");
    runs("./tiny probe --weights run/last.safetensors --json > probe");
    snprintf(command, sizeof command, "%s regression.py > regression", python);
    runs(command);
    double ours = number_in("probe", "accuracy"), theirs = number_in("regression", "accuracy");
    print_message("probe %.4f, scikit-learn %.4f\n", ours, theirs);
    assert_true(number_in("probe", "images") == number_in("regression", "images"));
    assert_true(theirs > 0.2); /* a guess is right about one in ten */
    assert_true(fabs(ours - theirs) < TOLERANCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode_and_probe_agree),
    };
    return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
