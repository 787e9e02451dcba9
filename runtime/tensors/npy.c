/* npy.c: writes one array as NumPy's .npy, version 1.0: a header that is a Python dictionary, padded so that
 * the data begin at a multiple of 64, then the elements, row-major. */
#include "runtime.h"
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "arrays are written as they lie in memory");

enum { ALIGNMENT = 64, PREAMBLE = 10, HEADER_MOST = 512 };

/* Python's tuple: (), (3,), (3, 4). */
static void format_shape(char *text, size_t size, int rank, const int64_t *dims)
{
    size_t length = (size_t)snprintf(text, size, "(");
    for (int i = 0; i < rank && length < size; i++)
        length +=
            (size_t)snprintf(text + length, size - length, "%s%lld", i > 0 ? ", " : "", (long long)dims[i]);
    if (length < size)
        snprintf(text + length, size - length, rank == 1 ? ",)" : ")");
}

static bool write_header(FILE *stream, const char *descr, int rank, const int64_t *dims)
{
    char shape[256], text[HEADER_MOST];
    format_shape(shape, sizeof shape, rank, dims);
    int length =
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
    int total = (PREAMBLE + length + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    int padded = total - PREAMBLE;
    const unsigned char preamble[PREAMBLE] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(padded & 0xff), (unsigned char)(padded >> 8)};
    return fwrite(preamble, 1, PREAMBLE, stream) == PREAMBLE &&
           fprintf(stream, "%s%*s\n", text, padded - length - 1, "") == padded;
}

/* descr is a byte order, a letter and the bytes of an element: <f4. */
static uint64_t expected_bytes(const char *descr, int rank, const int64_t *dims)
{
    uint64_t bytes = strtoull(descr + 2, NULL, 10);
    for (int i = 0; i < rank; i++)
        bytes *= (uint64_t)dims[i];
    return bytes;
}

bool npy_open(NpyWriter *w, const char *path, const char *descr, int rank, const int64_t *dims, Fault *f)
{
    *w = (NpyWriter){.expected = expected_bytes(descr, rank, dims)};
    if (!file_create(&w->file, path, f))
        return false;
    if (write_header(w->file.stream, descr, rank, dims))
        return true;
    file_fault(&w->file, f);
    npy_discard(w);
    return false;
}

bool npy_give(NpyWriter *w, const void *data, size_t bytes, Fault *f)
{
    if (fwrite(data, 1, bytes, w->file.stream) != bytes)
        return file_fault(&w->file, f);
    w->given += bytes;
    return true;
}

bool npy_commit(NpyWriter *w, Fault *f)
{
    if (w->given == w->expected)
        return file_commit(&w->file, f);
    fault(f, "bug: %s was promised %llu bytes and given %llu", w->file.path, (unsigned long long)w->expected,
          (unsigned long long)w->given);
    npy_discard(w);
    return false;
}

void npy_discard(NpyWriter *w)
{
    file_discard(&w->file);
}

char *npy_labels_path(const char *path)
{
    static const char ending[] = ".npy", labels[] = ".labels.npy";
    size_t length = strlen(path);
    char *name = malloc(length + sizeof labels);
    if (!name)
        return NULL;
    if (length > strlen(ending) && strcmp(path + length - strlen(ending), ending) == 0)
        length -= strlen(ending);
    memcpy(name, path, length);
    memcpy(name + length, labels, sizeof labels);
    return name;
}
