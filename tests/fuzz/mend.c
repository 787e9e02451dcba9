/* mend.c: sums put right after libFuzzer's own changes, for most inputs: those of a PNG's chunks and a tar
 * file's headers. With a wrong sum nothing behind it is ever looked at. */
#include "readers.h"
#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* A chunk is its length, its kind, its data, and a sum over the last two. */
static void mend_png(uint8_t *data, size_t size)
{
    enum { MARK = 8, AROUND = 12 };
    if (size < MARK || memcmp(data, "\x89PNG\r\n\x1a\n", MARK) != 0)
        return;
    for (size_t at = MARK; at + AROUND <= size;) {
        size_t length = big_endian(data + at);
        if (length > size - at - AROUND)
            return;
        uint32_t sum = (uint32_t)crc32(0, data + at + 4, (uInt)length + 4);
        for (size_t i = 0; i < 4; i++)
            data[at + 8 + length + i] = (uint8_t)(sum >> (24 - 8 * i));
        at += length + AROUND;
    }
}

/* Where the header says so in the words of our own writer. */
static void mend_checkpoint(uint8_t *data, size_t size)
{
    static const char words[] = "\"digest\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[";
    uint64_t header, begin;
    if (size < sizeof header)
        return;
    memcpy(&header, data, sizeof header);
    if (header > size - sizeof header)
        return;
    const char *found = memmem(data, sizeof header + header, words, sizeof words - 1);
    if (!found || sscanf(found + sizeof words - 1, "%" SCNu64 ",", &begin) != 1)
        return;
    begin += sizeof header + header;
    if (begin > size || size - begin < sizeof(uint64_t))
        return;
    Digest d;
    digest_begin(&d);
    digest_add(&d, data, begin);
    digest_add(&d, data + begin + sizeof(uint64_t), size - begin - sizeof(uint64_t));
    uint64_t sum = digest_end(&d);
    memcpy(data + begin, &sum, sizeof sum);
}

/* Of every block that says it is a header. */
static void mend_tar(uint8_t *data, size_t size)
{
    enum { BLOCK = 512, MAGIC = 257, SUM = 148, SUM_BYTES = 8 };
    for (size_t at = 0; at + BLOCK <= size; at++) {
        const uint8_t *found = memmem(data + at + MAGIC, size - at - MAGIC, "ustar", 5);
        if (!found || (at = (size_t)(found - data) - MAGIC) + BLOCK > size)
            return;
        unsigned sum = 0;
        memset(data + at + SUM, ' ', SUM_BYTES);
        for (size_t i = 0; i < BLOCK; i++)
            sum += data[at + i];
        char text[SUM_BYTES];
        snprintf(text, sizeof text, "%06o", sum);
        memcpy(data + at + SUM, text, SUM_BYTES - 1);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, most);
    if (seed % 8 != 0) {
        mend_png(data, size);
        mend_checkpoint(data, size);
        mend_tar(data, size);
    }
    return size;
}
