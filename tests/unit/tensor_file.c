/* tensor_file.c: see tensor_file.h. A header of JSON behind its length in 8 bytes, then the data. */
#include "tensor_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void tensor_file_begin(TensorWriter *w)
{
    *w = (TensorWriter){0};
    w->header_stream = open_memstream(&w->header, &w->header_length);
    w->data_stream = open_memstream(&w->data, &w->data_length);
    assert_true(w->header_stream && w->data_stream);
}

void tensor_file_add(TensorWriter *w, const char *name, int rank, const int *dims, int integers,
                     const double *value)
{
    const long begin = ftell(w->data_stream);
    fprintf(w->header_stream, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", begin ? "," : "", name,
            integers ? "I64" : "F32");
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        fprintf(w->header_stream, "%s%d", i ? "," : "", dims[i]);
        count *= (size_t)dims[i];
    }
    for (size_t i = 0; i < count; i++) {
        const float real = (float)value[i];
        const int64_t integer = (int64_t)value[i];
        fwrite(integers ? (const void *)&integer : &real, integers ? sizeof integer : sizeof real, 1,
               w->data_stream);
    }
    fprintf(w->header_stream, "],\"data_offsets\":[%ld,%ld]}", begin, ftell(w->data_stream));
}

void tensor_file_end(TensorWriter *w, const char *path)
{
    assert_int_equal(fclose(w->header_stream) + fclose(w->data_stream), 0);
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    const uint64_t length = w->header_length + 2;
    fwrite(&length, sizeof length, 1, stream);
    fprintf(stream, "{%s}", w->header);
    fwrite(w->data, 1, w->data_length, stream);
    assert_int_equal(fclose(stream), 0);
    free(w->header);
    free(w->data);
}

TensorFile tensor_file_read(const char *path)
{
    TensorFile f = {0};
    FILE *from = fopen(path, "rb"), *to = open_memstream(&f.bytes, &f.count);
    if (!from)
        fail_msg("%s cannot be read", path);
    for (int c; (c = fgetc(from)) != EOF;)
        fputc(c, to);
    fclose(from);
    assert_int_equal(fclose(to), 0);
    return f;
}

double *tensor_file_find(const TensorFile *f, const char *name, size_t count)
{
    uint64_t length;
    assert_true(f->count >= sizeof length);
    memcpy(&length, f->bytes, sizeof length);
    assert_true(length <= f->count - 8);
    char *header = strndup(f->bytes + 8, (size_t)length), key[256];
    snprintf(key, sizeof key, "\"%s\"", name);
    const char *entry = strstr(header, key), *offsets = entry ? strstr(entry, "\"data_offsets\"") : NULL;
    unsigned long long begin = 0, end = 0;
    const int found = offsets && sscanf(offsets, "\"data_offsets\" : [ %llu , %llu", &begin, &end) == 2;
    free(header);
    if (!found || end - begin != count * sizeof(float) || end > f->count - 8 - length)
        return NULL;
    double *value = malloc(count * sizeof *value);
    assert_non_null(value);
    const char *from = f->bytes + 8 + length + begin;
    for (size_t i = 0; i < count; i++, from += sizeof(float)) {
        float real;
        memcpy(&real, from, sizeof real);
        value[i] = real;
    }
    return value;
}
