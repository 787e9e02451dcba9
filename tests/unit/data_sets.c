/* data_sets.c: each of these fails the test, with the message, where it cannot do what it is for. */
#include "data_sets.h"
#include "commands.h"
#include "samples.h"
#include "toy_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const char *dir;

int data_begin(void **state)
{
    (void)state;
    dir = scratch_begin();
    return 0;
}

int data_end(void **state)
{
    (void)state;
    scratch_end();
    return 0;
}

const char *data_folder(void)
{
    return dir;
}

Dataset *opened(Split split, uint32_t limit)
{
    Fault f;
    Dataset *d = data_open(dir, split, limit, &f);
    if (!d)
        fail_msg("%s", f.text);
    return d;
}

void refused(Split split, const char *what, const char *where)
{
    Fault f = {.error = 0};
    assert_null(data_open(dir, split, 0, &f));
    if (!strstr(f.text, what) || !strstr(f.text, where) || strchr(f.text, '\n'))
        fail_msg("the message is: %s", f.text);
}

Picture picture_of(const Dataset *d, uint32_t i, int channels)
{
    Picture p = {0};
    Fault f;
    if (!d->read(d, i, channels, &p, &f))
        fail_msg("%s", f.text);
    assert_int_equal(p.channels, channels);
    return p;
}

char *views_of(const char *name, size_t *count)
{
    char data[1024], out[1024];
    Options o = no_options(&toy_model);
    Fault f = {.error = 0};
    snprintf(data, sizeof data, "%s", scratch_path(name));
    snprintf(out, sizeof out, "%s", scratch_path("views-of"));
    o.data = data;
    o.out = out;
    if (run_quietly(command_views, &toy_model, &o, &f) != 0)
        fail_msg("%s", f.text);
    return read_whole(out, count);
}
