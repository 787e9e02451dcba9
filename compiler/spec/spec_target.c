/* spec_target.c: the section about the machine, or the machines. Of it precision and ranks change what is
 * trained, in last places. */
#include "reader.h"

#include <string.h>

const char *const precision_names[PRECISIONS] = {"float32", "bfloat16x3", "bfloat16"};

enum { THREAD_LIMIT = 1024, RANK_LIMIT = 65536, MARCH_LIMIT = 64 };

/* It becomes an argument of the C compiler. */
static void read_march(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    static const char *const wanted = "a processor's name as clang knows it, or native,";
    if (!read_text(r, n, path, wanted, &s->target.march))
        return;
    size_t good =
        strspn(s->target.march.v, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-");
    if (good != n->length || good == 0 || good > MARCH_LIMIT || strcspn(s->target.march.v, "._+-") == 0)
        problem_unwanted(r, n, path, wanted);
}

static void read_blas(Reader *r, const Node *n, const char *path, void *record)
{
    bool none;
    read_either(r, n, path, "openblas", "none", &none);
    ((Spec *)record)->target.blas = (Text){none ? "none" : "openblas", n->at};
}

static void read_precision(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    s->target.precision = (Precision)read_one_of(r, n, path, precision_names, PRECISIONS);
    s->target.precision_at = n->at;
}

/* Bytes of "512MiB" and the like; 0 where it is no such text. */
static int64_t parse_memory(const char *text)
{
    static const char *const unit[] = {"KiB", "MiB", "GiB"};
    if (*text == '0')
        return 0;
    int64_t count = parse_digits(&text, INT32_MAX);
    for (size_t i = 0; i < COUNT(unit); i++)
        if (count <= INT32_MAX && strcmp(text, unit[i]) == 0)
            return count << (10 * (i + 1));
    return 0;
}

static void read_memory(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    Text text;
    static const char *const wanted = "a whole number of KiB, MiB or GiB, as 512MiB,";
    s->target.memory.at = n->at;
    if (!read_text(r, n, path, wanted, &text))
        return;
    s->target.memory.v = parse_memory(text.v);
    if (s->target.memory.v == 0)
        problem_unwanted(r, n, path, wanted);
}

static const Field TARGET[] = {
    OTHER_FIELD("march", false, read_march),
    INT_FIELD("threads", false, Spec, target.threads, 1, THREAD_LIMIT),
    OTHER_FIELD("blas", false, read_blas),
    OTHER_FIELD("memory", false, read_memory),
    OTHER_FIELD("precision", false, read_precision),
    INT_FIELD("ranks", false, Spec, target.ranks, 1, RANK_LIMIT),
};
const Fields TARGET_FIELDS = FIELDS(TARGET);

void default_target(Spec *s)
{
    s->target.march.v = "native";
    s->target.threads.v = 2; /* until target_processor says how many there are */
    s->target.blas.v = "openblas";
    s->target.ranks.v = 1;
}
