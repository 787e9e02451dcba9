/* npy_read.c: the header of a NumPy array (.npy), versions 1.0 to 3.0: a Python dictionary that says what an
 * element is, in which order they lie, and the shape. The elements stay in the file. */
#include "runtime.h"

#include <string.h>

enum { PREAMBLE = 8, LENGTH_MOST = 4, HEADER_MOST = 4096 };

/* What is left of the dictionary. */
typedef struct {
    const char *at;
} Text;

static void skip_space(Text *t)
{
    t->at += strspn(t->at, " \t\r\n");
}

static bool take(Text *t, const char *word)
{
    skip_space(t);
    const size_t length = strlen(word);
    if (strncmp(t->at, word, length) != 0)
        return false;
    t->at += length;
    return true;
}

/* A string in either of Python's quotes, without escapes. */
static bool take_string(Text *t, char *to, size_t size)
{
    skip_space(t);
    const char quote = *t->at;
    const char *end = quote == '\'' || quote == '"' ? strchr(t->at + 1, quote) : NULL;
    const size_t length = end ? (size_t)(end - t->at - 1) : size;
    if (length >= size || memchr(t->at, '\\', length + 1))
        return false;
    memcpy(to, t->at + 1, length);
    to[length] = '\0';
    t->at = end + 1;
    return true;
}

static bool take_number(Text *t, uint64_t *number)
{
    skip_space(t);
    const char *const first = t->at;
    *number = 0;
    for (; *t->at >= '0' && *t->at <= '9'; t->at++)
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, (uint64_t)(*t->at - '0'), number))
            return false;
    const bool some = t->at > first;
    if (some && *t->at == 'L') /* as Python 2 wrote some */
        t->at++;
    return some;
}

/* Of more dimensions than there is room for, the number alone is right. */
static bool take_shape(Text *t, NpyHeader *h)
{
    const bool begun = take(t, "(");
    for (h->rank = 0; begun && !take(t, ")"); h->rank++) {
        uint64_t side;
        if (!take_number(t, &side))
            return false;
        if (h->rank < NPY_RANK)
            h->dims[h->rank] = side;
        if (!take(t, ",")) {
            h->rank++;
            return take(t, ")");
        }
    }
    return begun;
}

static bool take_descr(Text *t, NpyHeader *h)
{
    return take_string(t, h->type, sizeof h->type);
}

static bool take_order(Text *t, NpyHeader *h)
{
    h->fortran = take(t, "True");
    return h->fortran || take(t, "False");
}

static const struct {
    const char *name;
    bool (*take)(Text *t, NpyHeader *h);
} keys[] = {{"descr", take_descr}, {"fortran_order", take_order}, {"shape", take_shape}};

/* One of the keys with its value; `seen` has a bit for each. */
static bool take_pair(Text *t, NpyHeader *h, unsigned *seen)
{
    char name[16];
    size_t k = 0;
    if (!take_string(t, name, sizeof name) || !take(t, ":"))
        return false;
    while (k < COUNT(keys) && strcmp(keys[k].name, name) != 0)
        k++;
    if (k == COUNT(keys) || *seen & 1u << k)
        return false;
    *seen |= 1u << k;
    return keys[k].take(t, h);
}

/* {'descr': '|u1', 'fortran_order': False, 'shape': (3, 4), }, the keys in any order, each once. */
static bool parse(NpyHeader *h, const char *text)
{
    Text t = {text};
    unsigned seen = 0;
    bool good = take(&t, "{");
    while (good && !take(&t, "}")) {
        good = take_pair(&t, h, &seen);
        if (good && !take(&t, ",")) {
            good = take(&t, "}");
            break;
        }
    }
    skip_space(&t);
    return good && seen == (1u << COUNT(keys)) - 1 && *h->type && *t.at == '\0';
}

/* Where the dictionary begins and how long it is. */
static bool read_preamble(const DataFile *file, uint64_t *begin, uint32_t *length, Fault *f)
{
    static const uint8_t magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    uint8_t bytes[PREAMBLE + LENGTH_MOST] = {0};
    const size_t there = file->bytes < sizeof bytes ? (size_t)file->bytes : sizeof bytes;
    if (!data_file_read(file, bytes, there, 0, f))
        return false;
    if (there < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0)
        return fault(f, "%s: does not begin as a NumPy array does; write it with numpy.save", file->path);
    const int version = bytes[6];
    if (there == sizeof bytes && (version < 1 || version > 3))
        return fault(f, "%s: version %d of NumPy's format; 1 to 3 are read; write it with numpy.save",
                     file->path, version);
    *begin = PREAMBLE + (version == 1 ? 2 : 4);
    *length = bytes[8] | (uint32_t)bytes[9] << 8;
    if (version > 1)
        *length |= (uint32_t)bytes[10] << 16 | (uint32_t)bytes[11] << 24;
    return (there == sizeof bytes && *length <= file->bytes - *begin) ||
           fault(f, "%s: ends within its header; write or fetch it again", file->path);
}

bool npy_read_header(NpyHeader *h, const DataFile *file, Fault *f)
{
    char text[HEADER_MOST + 1];
    uint32_t length = 0;
    uint64_t begin = 0;
    if (!read_preamble(file, &begin, &length, f))
        return false;
    if (length > HEADER_MOST)
        return fault(f, "%s: a header of %u bytes; that of a plain array has %d at most; write one",
                     file->path, length, HEADER_MOST);
    if (!data_file_read(file, text, length, begin, f))
        return false;
    text[length] = '\0';
    *h = (NpyHeader){.begin = begin + length};
    if (strlen(text) < length || !parse(h, text))
        return fault(f, "%s: a header that is not that of a plain array; write one with numpy.save",
                     file->path);
    return true;
}

bool npy_check_length(const NpyHeader *h, const DataFile *file, uint32_t element, Fault *f)
{
    uint64_t bytes = element;
    bool none = false;
    for (int i = 0; i < h->rank && i < NPY_RANK; i++)
        none |= h->dims[i] == 0;
    for (int i = 0; i < h->rank && i < NPY_RANK && !none; i++)
        if (__builtin_mul_overflow(bytes, h->dims[i], &bytes) || bytes > INT64_MAX)
            return fault(f, "%s: its shape is more than a file can hold; write or fetch it again",
                         file->path);
    bytes = none ? 0 : bytes;
    return file->bytes - h->begin == bytes ||
           fault(f, "%s: %llu bytes behind the header, but its shape makes %llu; write or fetch it again",
                 file->path, (unsigned long long)(file->bytes - h->begin), (unsigned long long)bytes);
}
