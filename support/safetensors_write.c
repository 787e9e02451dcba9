/* safetensors_write.c: writes tensors to a .safetensors file.
 *
 * The header grows in memory while tensors are announced, and goes out before the first data, padded with
 * spaces so that the data begin at a multiple of 8. Data follow in the order of the announcements; a digest
 * is the last of them, so that it can be over all that went before. */
#include "safetensors.h"
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are written as they lie in memory");

enum { LENGTH_BYTES = 8, DATA_ALIGNMENT = 8, FIRST_CAPACITY = 1 << 14 };

/* Where memory runs out the header is dropped, which the next writer_give or writer_commit reports. */
static bool reserve(TensorWriter *w, size_t more)
{
    if (w->header == NULL)
        return false;
    if (more <= w->header_capacity - w->header_length)
        return true;
    size_t capacity = 2 * w->header_capacity + more;
    char *grown = realloc(w->header, capacity);
    if (grown == NULL)
        free(w->header);
    w->header = grown;
    w->header_capacity = capacity;
    return grown != NULL;
}

__attribute__((format(printf, 2, 3))) static void append(TensorWriter *w, const char *format, ...)
{
    char piece[64];
    va_list arguments;
    va_start(arguments, format);
    size_t length = (size_t)vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    assert(length < sizeof piece);
    if (!reserve(w, length))
        return;
    memcpy(w->header + w->header_length, piece, length);
    w->header_length += length;
}

static void append_string(TensorWriter *w, const char *text)
{
    append(w, "\"");
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        append(w, c == '"' || c == '\\' ? "\\%c" : c < 0x20 ? "\\u%04x" : "%c", c);
    }
    append(w, "\"");
}

bool writer_open(TensorWriter *w, const char *path, Fault *f)
{
    *w = (TensorWriter){.header_capacity = FIRST_CAPACITY};
    w->header = allocate(w->header_capacity, "a file's header", f);
    if (w->header == NULL || !file_create(&w->file, path, f)) {
        writer_discard(w);
        return false;
    }
    append(w, "{");
    return true;
}

/* The header always ends with a whole entry, so the object of metadata is opened again for every pair. */
void writer_metadata(TensorWriter *w, const char *key, const char *value)
{
    assert(w->announced == 0);
    if (w->header_length > 1) {
        w->header_length--;
        append(w, ",");
    } else {
        append(w, "\"__metadata__\":{");
    }
    append_string(w, key);
    append(w, ":");
    append_string(w, value);
    append(w, "}");
}

void writer_announce(TensorWriter *w, const char *name, Dtype dtype, int rank, const int64_t *dims)
{
    assert(dtype == DTYPE_F32 || dtype == DTYPE_I64);
    uint64_t bytes = dtype == DTYPE_F32 ? sizeof(float) : sizeof(int64_t);
    if (w->header_length > 1)
        append(w, ",");
    append_string(w, name);
    append(w, ":{\"dtype\":\"%s\",\"shape\":[", dtype == DTYPE_F32 ? "F32" : "I64");
    for (int i = 0; i < rank; i++) {
        append(w, "%s%" PRId64, i > 0 ? "," : "", dims[i]);
        bytes *= (uint64_t)dims[i];
    }
    append(w, "],\"data_offsets\":[%" PRIu64 ",", w->announced);
    w->announced += bytes;
    append(w, "%" PRIu64 "]}", w->announced);
}

void writer_sign(TensorWriter *w)
{
    digest_begin(&w->digest);
    w->is_signed = true;
}

static bool put(TensorWriter *w, const void *data, size_t bytes, Fault *f)
{
    if (w->is_signed)
        digest_add(&w->digest, data, bytes);
    if (fwrite(data, 1, bytes, w->file.stream) == bytes)
        return true;
    return file_fault(&w->file, f);
}

/* The header's length falls to 0 once it is out. */
static bool put_header_once(TensorWriter *w, Fault *f)
{
    if (w->header != NULL && w->header_length == 0)
        return true;
    if (w->is_signed)
        writer_announce(w, TENSOR_DIGEST, DTYPE_I64, 1, &(int64_t){1});
    append(w, "}");
    while (w->header != NULL && (LENGTH_BYTES + w->header_length) % DATA_ALIGNMENT != 0)
        append(w, " ");
    if (w->header == NULL)
        return fault(f, "cannot write %s: out of memory for its header", w->file.path);
    uint64_t length = w->header_length;
    bool done = put(w, &length, sizeof length, f) && put(w, w->header, w->header_length, f);
    w->header_length = 0;
    return done;
}

bool writer_give(TensorWriter *w, const void *data, size_t bytes, Fault *f)
{
    w->given += bytes;
    return put_header_once(w, f) && put(w, data, bytes, f);
}

static bool put_digest(TensorWriter *w, Fault *f)
{
    uint64_t digest = digest_end(&w->digest);
    w->given += sizeof digest;
    return put(w, &digest, sizeof digest, f);
}

bool writer_commit(TensorWriter *w, const char *previous, Fault *f)
{
    bool good = put_header_once(w, f) && (!w->is_signed || put_digest(w, f));
    if (good && w->given != w->announced)
        good = fault(f, "bug: %s was promised %" PRIu64 " bytes of tensors and given %" PRIu64, w->file.path,
                     w->announced, w->given);
    if (good)
        good = file_commit_keeping(&w->file, previous, f);
    writer_discard(w);
    return good;
}

void writer_discard(TensorWriter *w)
{
    file_discard(&w->file);
    free(w->header);
    w->header = NULL;
}
