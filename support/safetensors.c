/* safetensors.c: reads tensors from a .safetensors file, which may come from anywhere.
 *
 * Such a file is the header's length (8 bytes, little-endian), the header (a JSON object: a tensor's name ->
 * {"dtype", "shape", "data_offsets"}; "__metadata__" -> strings), and the data. Nothing in a header is
 * believed before it was checked: what tensors_open leaves behind lies inside the file and overlaps nowhere.
 */
#define _FILE_OFFSET_BITS 64
#include "safetensors.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JSMN_STATIC
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include <jsmn.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensors are read into memory as they lie in the file");

enum {
    LENGTH_BYTES = 8,
    HEADER_MOST = 100 * 1000 * 1000, /* the format's own limit */
    TOKENS_MOST = 4 * 1000 * 1000,   /* some 300,000 tensors; keeps a hostile header from filling memory */
    RANK_MOST = COUNT(((Stored *)0)->dims),
};

/* A header being read. */
typedef struct {
    TensorFile *file;
    char *text;
    size_t length;
    jsmntok_t *token;
    int tokens;
    uint64_t data_begin, data_bytes;
    Fault *f;
} Header;

/* ---- JSON ---- */

/* The token after value i and all that is in it. */
static int skip_value(const Header *h, int i)
{
    int end = h->token[i++].end;
    while (i < h->tokens && h->token[i].start < end)
        i++;
    return i;
}

static bool token_is(const Header *h, int i, const char *text)
{
    const jsmntok_t *t = &h->token[i];
    size_t length = (size_t)(t->end - t->start);
    return t->type == JSMN_STRING && strlen(text) == length && memcmp(h->text + t->start, text, length) == 0;
}

/* A number without sign, fraction or exponent. */
static bool token_number(const Header *h, int i, uint64_t most, uint64_t *out)
{
    const jsmntok_t *t = &h->token[i];
    const char *c = h->text + t->start, *end = h->text + t->end;
    if (t->type != JSMN_PRIMITIVE || c == end || (*c == '0' && end - c > 1))
        return false;
    *out = 0;
    for (; c < end; c++) {
        if (*c < '0' || *c > '9' || *out > (most - (uint64_t)(*c - '0')) / 10)
            return false;
        *out = *out * 10 + (uint64_t)(*c - '0');
    }
    return true;
}

/* The four digits of \uXXXX, which jsmn has checked. */
static uint32_t hex4(const char *c)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t digit = (uint32_t)(c[i] <= '9' ? c[i] - '0' : (c[i] | 0x20) - 'a' + 10);
        value = value * 16 + digit;
    }
    return value;
}

static char *put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    *out++ = (char)(lead[more] | code >> 6 * more);
    while (more-- > 0)
        *out++ = (char)(0x80 | (code >> 6 * more & 0x3f));
    return out;
}

/* Reads the escape after a backslash at *from; NULL where it stands for no character that a name may hold. */
static char *put_escape(const char **from, const char *end, char *out)
{
    static const char letters[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    const char *c = *from;
    if (*c != 'u') {
        *out = meaning[strchr(letters, *c) - letters];
        *from = c + 1;
        return out + 1;
    }
    uint32_t code = hex4(c + 1);
    c += 5;
    if (code >= 0xd800 && code < 0xdc00 && end - c >= 6 && c[0] == '\\' && c[1] == 'u') {
        uint32_t low = hex4(c + 2);
        if (low < 0xdc00 || low > 0xdfff)
            return NULL;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        c += 6;
    }
    *from = c;
    return code == 0 || (code >= 0xd800 && code < 0xe000) ? NULL : put_utf8(out, code);
}

/* The text of a string, by malloc; NULL with a fault. */
static char *token_text(const Header *h, int i)
{
    const jsmntok_t *t = &h->token[i];
    if (t->type != JSMN_STRING) {
        fault(h->f, "%s: damaged header: a string is missing at byte %d", h->file->path,
              LENGTH_BYTES + t->start);
        return NULL;
    }
    char *text = malloc((size_t)(t->end - t->start) + 1); /* no escape is shorter than what it stands for */
    if (text == NULL) {
        fault_errno(h->f, "%s", h->file->path);
        return NULL;
    }
    char *out = text;
    const char *end = h->text + t->end;
    for (const char *c = h->text + t->start; c < end && out != NULL;) {
        if (*c == '\\') {
            c++;
            out = put_escape(&c, end, out);
        } else {
            *out = *c++;
            out = (unsigned char)*out < 0x20 ? NULL : out + 1;
        }
    }
    if (out == NULL) {
        free(text);
        fault(h->f, "%s: damaged header: the string at byte %d is not valid JSON text", h->file->path,
              LENGTH_BYTES + t->start);
        return NULL;
    }
    *out = '\0';
    return text;
}

/* ---- one tensor ---- */

static bool bad_tensor(const Header *h, const Stored *s, const char *what)
{
    return fault(h->f, "%s: tensor %s: %s", h->file->path, s->name, what);
}

static bool read_dtype(const Header *h, Stored *s, int i)
{
    if (h->token[i].type != JSMN_STRING)
        return bad_tensor(h, s, "its dtype is not a string");
    s->dtype = token_is(h, i, "F32") ? DTYPE_F32 : token_is(h, i, "I64") ? DTYPE_I64 : DTYPE_OTHER;
    return true;
}

static bool read_shape(const Header *h, Stored *s, int i)
{
    if (h->token[i].type != JSMN_ARRAY)
        return bad_tensor(h, s, "its shape is not a list");
    s->rank = h->token[i].size;
    s->count = 1;
    for (int d = 0; d < s->rank; d++) {
        uint64_t size;
        if (!token_number(h, i + 1 + d, INT64_MAX, &size))
            return bad_tensor(h, s, "its shape holds something that is not a size");
        if (__builtin_mul_overflow(s->count, size, &s->count))
            return bad_tensor(h, s, "its shape has more elements than can be counted");
        if (d < RANK_MOST)
            s->dims[d] = (int64_t)size;
    }
    return true;
}

static bool read_offsets(const Header *h, Stored *s, int i)
{
    uint64_t begin, end;
    if (h->token[i].type != JSMN_ARRAY || h->token[i].size != 2 ||
        !token_number(h, i + 1, UINT64_MAX, &begin) || !token_number(h, i + 2, UINT64_MAX, &end))
        return bad_tensor(h, s, "its data_offsets are not two numbers");
    if (begin > end || end > h->data_bytes)
        return bad_tensor(h, s, "its data lie outside the file; the file is damaged or cut short");
    s->begin = h->data_begin + begin;
    s->bytes = end - begin;
    return true;
}

static bool check_tensor(const Header *h, Stored *s, bool complete)
{
    if (!complete)
        return bad_tensor(h, s, "its dtype, shape or data_offsets are missing");
    uint64_t width = s->dtype == DTYPE_F32 ? 4 : 8, bytes;
    if (s->dtype != DTYPE_OTHER && (__builtin_mul_overflow(s->count, width, &bytes) || bytes != s->bytes))
        return bad_tensor(h, s, "its shape and its data_offsets disagree about its size");
    if (s->rank > RANK_MOST)
        s->dtype = DTYPE_OTHER; /* nobody here asks for a tensor of so many dimensions */
    return true;
}

/* s has its name; token i is the object that describes it. */
static bool read_tensor(const Header *h, Stored *s, int i)
{
    static const struct {
        const char *key;
        bool (*read)(const Header *h, Stored *s, int i);
    } fields[] = {{"dtype", read_dtype}, {"shape", read_shape}, {"data_offsets", read_offsets}};
    if (h->token[i].type != JSMN_OBJECT)
        return bad_tensor(h, s, "its description is not a JSON object");
    bool seen[COUNT(fields)] = {false};
    int pairs = h->token[i].size, key = i + 1;
    for (int p = 0; p < pairs; p++, key = skip_value(h, key + 1))
        for (size_t field = 0; field < COUNT(fields); field++) {
            if (!token_is(h, key, fields[field].key))
                continue;
            if (seen[field])
                return bad_tensor(h, s, "its description says the same thing twice");
            seen[field] = true;
            if (!fields[field].read(h, s, key + 1))
                return false;
        }
    return check_tensor(h, s, seen[0] && seen[1] && seen[2]);
}

/* ---- the whole header ---- */

static bool read_metadata(const Header *h, int i)
{
    TensorFile *t = h->file;
    if (h->token[i].type != JSMN_OBJECT || t->metadata != NULL)
        return fault(h->f, "%s: damaged header: __metadata__ is not one JSON object", t->path);
    int pairs = h->token[i].size;
    t->metadata = allocate_zero(2 * (size_t)pairs * sizeof *t->metadata, "a file's metadata", h->f);
    if (t->metadata == NULL)
        return false;
    for (int p = 0, key = i + 1; p < pairs; p++, key += 2) /* string: string, so two tokens each */
        for (int side = 0; side < 2; side++) {
            char *text = token_text(h, key + side);
            if (text == NULL)
                return false;
            t->metadata[t->metadata_count++] = text;
        }
    return true;
}

static bool read_entries(const Header *h)
{
    TensorFile *t = h->file;
    int entries = h->token[0].size;
    t->tensor = allocate_zero((size_t)entries * sizeof *t->tensor, "a file's list of tensors", h->f);
    if (t->tensor == NULL)
        return false;
    for (int e = 0, key = 1; e < entries; e++, key = skip_value(h, key + 1)) {
        if (token_is(h, key, "__metadata__")) {
            if (!read_metadata(h, key + 1))
                return false;
            continue;
        }
        Stored *s = &t->tensor[t->count];
        s->name = token_text(h, key);
        if (s->name == NULL)
            return false;
        t->count++;
        if (!read_tensor(h, s, key + 1))
            return false;
    }
    return true;
}

static int compare_begin(const void *a, const void *b)
{
    const Stored *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const Stored *)a)->name, ((const Stored *)b)->name);
}

/* As the format wants it: tensors one behind the other, from the first byte of the data to the file's last.
 */
static bool check_layout(const Header *h)
{
    TensorFile *t = h->file;
    qsort(t->tensor, (size_t)t->count, sizeof *t->tensor, compare_begin);
    const Stored *last = NULL; /* the last that has data */
    uint64_t end = h->data_begin;
    for (int i = 0; i < t->count; i++) {
        const Stored *s = &t->tensor[i];
        if (s->bytes == 0)
            continue;
        if (last != NULL && s->begin < end)
            return fault(h->f, "%s: tensors %s and %s overlap", t->path, last->name, s->name);
        if (s->begin != end)
            return fault(h->f, "%s: damaged: bytes of no tensor lie before tensor %s", t->path, s->name);
        end += s->bytes;
        last = s;
    }
    if (end == h->data_begin + h->data_bytes)
        return true;
    return fault(h->f, "%s: damaged: bytes of no tensor lie behind the last", t->path);
}

/* Leaves the tensors in the order of their names, for tensors_find. */
static bool check_names(TensorFile *t, Fault *f)
{
    qsort(t->tensor, (size_t)t->count, sizeof *t->tensor, compare_names);
    for (int i = 1; i < t->count; i++)
        if (strcmp(t->tensor[i - 1].name, t->tensor[i].name) == 0)
            return fault(f, "%s: tensor %s is there twice", t->path, t->tensor[i].name);
    return true;
}

/* jsmn stops at a zero byte, lets a key go without a value and what is closed have children: all that is
 * refused, so that afterwards an object is keys (strings) each followed by its one value. */
static bool check_token(const Header *h, int i)
{
    const jsmntok_t *t = &h->token[i];
    if (t->parent < 0)
        return false;
    const jsmntok_t *parent = &h->token[t->parent];
    if (parent->type == JSMN_STRING)
        return t->type != JSMN_STRING || t->size == 0;
    bool inside = t->start > parent->start && t->end < parent->end;
    if (parent->type == JSMN_OBJECT)
        return inside && t->type == JSMN_STRING && t->size == 1;
    return inside && parent->type == JSMN_ARRAY && (t->type != JSMN_STRING || t->size == 0);
}

static bool check_json(const Header *h)
{
    bool good = h->tokens > 0 && h->token[0].type == JSMN_OBJECT && h->token[0].start == 0;
    for (int i = 1; good && i < h->tokens; i++)
        good = check_token(h, i);
    for (size_t i = good ? (size_t)h->token[0].end : 0; good && i < h->length; i++)
        good = h->text[i] == ' ';
    return good || fault(h->f, "%s: damaged header: not the JSON of a safetensors file", h->file->path);
}

static bool parse_header(Header *h)
{
    jsmn_parser parser;
    jsmn_init(&parser);
    int needed = jsmn_parse(&parser, h->text, h->length, NULL, 0);
    if (needed > TOKENS_MOST)
        return fault(h->f, "%s: its header lists more tensors than this program reads", h->file->path);
    size_t room = needed > 0 ? (size_t)needed : 1;
    h->token = allocate(room * sizeof *h->token, "a file's header", h->f);
    if (h->token == NULL)
        return false;
    jsmn_init(&parser);
    h->tokens = jsmn_parse(&parser, h->text, h->length, h->token, (unsigned)room);
    return check_json(h) && read_entries(h) && check_layout(h) && check_names(h->file, h->f);
}

/* ---- the file ---- */

static bool read_at(const TensorFile *t, uint64_t begin, void *out, size_t bytes, Fault *f)
{
    errno = 0;
    if (fseeko(t->stream, (off_t)begin, SEEK_SET) == 0 && fread(out, 1, bytes, t->stream) == bytes)
        return true;
    if (errno != 0)
        return fault_errno(f, "cannot read %s", t->path);
    return fault(f, "cannot read %s: it ends too early", t->path);
}

static bool load_header(Header *h)
{
    TensorFile *t = h->file;
    off_t size = fseeko(t->stream, 0, SEEK_END) == 0 ? ftello(t->stream) : -1;
    if (size < 0)
        return fault_errno(h->f, "cannot read %s", t->path);
    uint64_t length = 0;
    if (size >= LENGTH_BYTES && !read_at(t, 0, &length, sizeof length, h->f))
        return false;
    if (length < 2 || length > HEADER_MOST || length > (uint64_t)size - LENGTH_BYTES)
        return fault(h->f, "%s: not a safetensors file, or cut short", t->path);
    h->length = (size_t)length;
    h->data_begin = LENGTH_BYTES + length;
    h->data_bytes = (uint64_t)size - h->data_begin;
    h->text = allocate(h->length, "a file's header", h->f);
    return h->text != NULL && read_at(t, LENGTH_BYTES, h->text, h->length, h->f) && parse_header(h);
}

/* ---- checkpoints of ours ---- */

static int count_checkpoint_keys(const TensorFile *t)
{
    int count = 0;
    for (int i = 0; i < t->metadata_count; i += 2)
        count += strncmp(t->metadata[i], CHECKPOINT_KEYS, strlen(CHECKPOINT_KEYS)) == 0;
    return count;
}

static bool add_bytes(const TensorFile *t, uint64_t begin, uint64_t end, Digest *digest, Fault *f)
{
    enum { BLOCK = 1 << 16 };
    uint8_t *block = allocate(BLOCK, "checking a file", f);
    bool good = block != NULL;
    for (size_t count; good && begin < end; begin += count) {
        count = end - begin < BLOCK ? (size_t)(end - begin) : BLOCK;
        good = read_at(t, begin, block, count, f);
        if (good)
            digest_add(digest, block, count);
    }
    free(block);
    return good;
}

/* The digest covers every byte before and behind its own. */
static bool digest_fits(const TensorFile *t, const Stored *s, uint64_t size, bool *fits, Fault *f)
{
    uint64_t kept = 0;
    Digest digest;
    digest_begin(&digest);
    if (!add_bytes(t, 0, s->begin, &digest, f) || !add_bytes(t, s->begin + s->bytes, size, &digest, f) ||
        !tensors_read(t, s, &kept, f))
        return false;
    *fits = digest_end(&digest) == kept;
    return true;
}

/* Version 0.1 wrote one key of ours and no digest. With more keys than one, a damaged byte of one of them
 * leaves another that says whose the file is. */
static bool check_digest(TensorFile *t, uint64_t size, Fault *f)
{
    const int keys = count_checkpoint_keys(t);
    const char *version = tensors_metadata(t, CHECKPOINT_VERSION_KEY);
    const Stored *s = tensors_find(t, TENSOR_DIGEST);
    bool fits = false;
    if (keys == 0)
        return true;
    t->unsigned_checkpoint = keys == 1 && s == NULL && version != NULL && strcmp(version, "1") == 0;
    if (t->unsigned_checkpoint)
        return true;
    if (s != NULL && s->dtype == DTYPE_I64 && s->count == 1 && !digest_fits(t, s, size, &fits, f))
        return false;
    return fits ||
           fault(f, "%s: damaged: its bytes are not those that were written (the digest does not fit)",
                 t->path);
}

static bool open_stream(TensorFile *t, const char *path, Fault *f)
{
    int descriptor = file_open_to_read(path, f);
    if (descriptor < 0)
        return false;
    t->path = strdup(path);
    t->stream = t->path != NULL ? fdopen(descriptor, "rb") : NULL;
    if (t->stream != NULL)
        return true;
    close(descriptor);
    return fault(f, "out of memory for reading %s", path);
}

bool tensors_open(TensorFile *t, const char *path, Fault *f)
{
    *t = (TensorFile){0};
    Header h = {.file = t, .f = f};
    bool good = open_stream(t, path, f) && load_header(&h) && check_digest(t, h.data_begin + h.data_bytes, f);
    free(h.text);
    free(h.token);
    if (!good)
        tensors_close(t);
    return good;
}

void tensors_close(TensorFile *t)
{
    if (t->stream != NULL)
        fclose(t->stream);
    for (int i = 0; i < t->count; i++)
        free(t->tensor[i].name);
    for (int i = 0; i < t->metadata_count; i++)
        free(t->metadata[i]);
    free(t->tensor);
    free(t->metadata);
    free(t->path);
    *t = (TensorFile){0};
}

const Stored *tensors_find(const TensorFile *t, const char *name)
{
    Stored key = {.name = (char *)(uintptr_t)name};
    if (t->count == 0)
        return NULL;
    return bsearch(&key, t->tensor, (size_t)t->count, sizeof key, compare_names);
}

const char *tensors_metadata(const TensorFile *t, const char *key)
{
    for (int i = 0; i < t->metadata_count; i += 2)
        if (strcmp(t->metadata[i], key) == 0)
            return t->metadata[i + 1];
    return NULL;
}

bool tensors_read(const TensorFile *t, const Stored *s, void *out, Fault *f)
{
    if (s->bytes > SIZE_MAX)
        return fault(f, "%s: tensor %s is larger than this machine can address", t->path, s->name);
    return read_at(t, s->begin, out, (size_t)s->bytes, f);
}
