/* runtime.h: the runtime's own map, one section per file, from the bottom up; each folder is a stage:
 *
 *   data/ -> augment/ -> train/ (a step, its checkpoints) -> probe/, report/; tensors/ the files; command/;
 *   shares/ a step of several processes
 *
 * portable/ has its own map (portable.h): arithmetic that a library of a model has, too.
 * Faults, whole files and metrics' lines are support.h's; only command.c prints a fault. Nothing here knows a
 * spec; all comes from the AmdimModel. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include "amdim.h"
#include "page.h"
#include "portable/portable.h"
#include "processor.h"
#include "safetensors.h"
#include "support.h"
#include <limits.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

/* ---- pool.c: threads (amdim_parallel, amdim_scratch) ---- */

AmdimPool *pool_new(int threads, size_t scratch_bytes, Fault *f);
void pool_free(AmdimPool *pool);
int pool_threads(const AmdimPool *pool);

/* ---- picture.c: pixels, whole or row by row ---- */

enum { PICTURE_SIDE = 65535 }; /* the longest */
/* Who takes a picture's rows as they come, so that it need not be held whole. */
typedef struct RowSink RowSink;
struct RowSink {
    /* Told the size before the first row; returns the bytes that it will hold. */
    size_t (*begin)(RowSink *sink, int width, int height);
    void (*take)(RowSink *sink, int y, const uint8_t *row); /* (width, channels); y from 0 up, each once */
    void (*end)(RowSink *sink); /* no more come, whether or not all came; called whenever `begin` was */
};
typedef struct {
    int width, height, channels; /* channels 1 or 3 */
    uint8_t *pixels;             /* height x width x channels, rows from the top */
    size_t capacity;             /* bytes at pixels, which grows as needed and is reused */
    RowSink *rows;               /* a reader that has the rows one by one may hand them here instead */
    bool streamed;               /* and says so */
} Picture;
void picture_free(Picture *p);
bool picture_reserve(Picture *p, int width, int height, int channels, Fault *f); /* sets the shape too */
bool picture_check_sides(int width, int height, Fault *f);                       /* 1 to PICTURE_SIDE */
/* Changes the number of channels in place: grey is replicated, colour becomes ITU-R 601 luma. */
bool picture_convert(Picture *p, int channels, Fault *f);
/* The same of `count` pixels, with room for either number. */
void pixels_convert(uint8_t *pixels, size_t count, int before, int channels);
void picture_hand_on(const Picture *p, RowSink *rows); /* one that is whole */
typedef struct Dataset Dataset;
/* Reads image i of the data set as Dataset.read does, and hands its rows on; p is room for it. */
bool picture_read_rows(const Dataset *d, uint32_t i, int view, int channels, Picture *p, RowSink *rows,
                       Fault *f);

/* ---- decode_room.c: memory for decoding, which all threads share ---- */

/* From here on, pictures that would take the program beyond what it promises are refused. Without this call,
 * and of models that promise nothing, there is no bound. */
void decoding_allow(const AmdimModel *m);
void decoding_leave(size_t index_bytes); /* of AmdimModel.data_bytes, what a data set's index takes */
typedef struct {
    size_t bytes, promised; /* for decoding; for the whole program */
} DecodingRoom;
/* Waits until so much is free, and takes it; false, at once, where it is more than there ever is. A thread
 * takes once at a time. */
bool decoding_take(size_t bytes, DecodingRoom *found);
void decoding_give(size_t bytes);
/* Of `used` bytes, all but the first `keep` back to the system; what they hold is lost. */
void pages_give_back(void *memory, size_t keep, size_t used);

/* ---- decode.c, decode_*.c: JPEG (libjpeg-turbo) and PNG (libpng) ---- */

/* Decodes to 1 or 3 channels as asked (alpha over black is dropped, 16 bits become 8, palettes are expanded,
 * CMYK JPEG becomes RGB), to p->rows where there is one. A truncated or damaged file is a fault naming
 * `name`; so is a picture that needs more than the room for decoding, and one in which a signal came. */
bool decode_picture(Picture *p, const uint8_t *bytes, size_t count, int channels, const char *name, Fault *f);
/* The same of bytes of an open file, which several threads may read at once. */
bool decode_picture_file(Picture *p, int descriptor, uint64_t offset, uint64_t bytes, int channels,
                         const char *name, Fault *f);

/* ---- picture_file.c ---- */

/* Reads and decodes the file; what is wrong is a fault naming it. */
bool picture_read_file(Picture *p, const char *path, int channels, Fault *f);

/* ---- png_write.c ---- */

bool png_can_write(Fault *f); /* not where the program was built without libpng */
/* Writes `data:image/png;base64,...` for a page. Channels: 1 grey, 3 RGB, 4 RGB and alpha. Fails only for
 * want of memory; what the stream says is the caller's to ask. */
bool png_data_uri(FILE *stream, const uint8_t *pixels, int width, int height, int channels, Fault *f);

/* ---- data.c, data_*.c, pictures.c: labelled pictures ---- */

/* SPLIT_PRETRAIN is what training without labels reads: pictures without labels where a format has them, as
 * STL-10, else the training split. */
typedef enum { SPLIT_TRAIN, SPLIT_TEST, SPLIT_PRETRAIN } Split;
typedef struct Fingerprint Fingerprint;
struct Dataset {
    const char *format;   /* "CIFAR-10 binary", "folders of pictures", "built-in pictures" */
    uint32_t count;       /* images of the split, after the limit */
    int width, height;    /* of every image; 0: each has its own */
    int classes;          /* 1 without labels */
    bool unlabelled;      /* all labels are 0 and mean nothing */
    bool coarse;          /* the labels are the coarse ones */
    bool undivided;       /* there are no splits, and this is all there is */
    char **class_name;    /* (classes); may hold NULL where the format has no names */
    char *remark;         /* what is there and not taken, or missing, by malloc; NULL: nothing */
    uint16_t *label;      /* (count) */
    uint32_t *index;      /* (count) number of each image in the format's own order */
    uint32_t held;        /* images that --holdout takes away from these */
    uint16_t *held_label; /* (held) */
    uint32_t *held_index; /* (held) */
    bool borrowed;        /* all but this itself is another's */
    /* Reads image i of the split (0..count-1) to `channels` channels; called from several threads at once. */
    bool (*read)(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f);
    /* The same of the picture that the second view is of; NULL: it is of the same. */
    bool (*read_second)(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f);
    /* What decides whether --holdout takes image i; NULL: its number does. */
    uint64_t (*draw)(const Dataset *d, uint32_t i);
    /* Adds what tells these pictures from others of the same number, labels and sizes; see fingerprint.c. */
    bool (*identify)(const Dataset *d, Fingerprint *p, Fault *f);
    void (*close)(Dataset *d); /* frees the format's own part */
    size_t bytes;              /* that all of this holds: its index */
    void *own;
};
typedef void DataTell(void *teller, const Fault *f);
typedef struct {
    const char *dir; /* NULL: the built-in pictures */
    Split split;
    uint32_t limit;   /* 0: none */
    bool limits_test; /* the test split, too */
    bool coarse;      /* CIFAR-100's coarse labels in place of the fine ones */
    double holdout;   /* of a set without splits, the share that is the test split; 0: none */
    bool whole;       /* of a set without splits, all of it, whatever the split, unless there is a holdout */
    /* Not NULL: what is wrong with a part of a folder (a class without pictures, a folder that cannot be
     * read) is told here, and the rest is opened; pipes and lost links named as pictures are listed, and fail
     * when they are read. */
    DataTell *tell;
    void *teller;
} DataRequest;
/* Finds out what the folder holds and opens one split of it. `limit` > 0 keeps the first `limit` images of
 * each class of the training split, in file order; the test split is whole unless the request says so. A
 * class has the same label in both splits: folders are numbered by the training split's names in byte order.
 */
Dataset *data_request(const DataRequest *r, Fault *f);
/* The same, with the fine labels. */
Dataset *data_open(const char *dir, Split split, uint32_t limit, Fault *f);
void data_close(Dataset *d);
enum { DATA_TEXT = 800 };
/* What was found: "STL-10 binary, 5000 images of 96 x 96 in 10 classes"; behind it the remark, "; passed
 * over: 3 .webp". */
void data_describe(const Dataset *d, char *text, size_t size); /* DATA_TEXT has room for it */
/* The same on stderr, as what there is of `split`. */
void data_say(const Dataset *d, Split split);
/* For the openers: room for `count` images of `classes` classes, numbered in order, with no names, labels 0.
 */
Dataset *dataset_new(const char *format, uint32_t count, int classes, Fault *f);
/* A finder and an opener a format. *found: whether dir, which may be a file, holds that format at all, as far
 * as a look at names tells; false with a fault where that cannot be told. The limit is not the opener's to
 * keep. */
bool cifar_find(const char *dir, bool *found, Fault *f); /* CIFAR-10 and -100 binary */
Dataset *cifar_open(const DataRequest *r, Fault *f);
bool stl_find(const char *dir, bool *found, Fault *f); /* STL-10 binary */
Dataset *stl_open(const DataRequest *r, Fault *f);
bool idx_find(const char *dir, bool *found, Fault *f); /* the MNIST family, packed or not */
Dataset *idx_open(const DataRequest *r, Fault *f);
bool folder_find(const char *dir, bool *found, Fault *f); /* train/CLASS/ and test/CLASS/ */
Dataset *folder_open(const DataRequest *r, Fault *f);
bool array_find(const char *dir, bool *found, Fault *f); /* train.npy and test.npy, or one FILE.npy */
Dataset *array_open(const DataRequest *r, Fault *f);
bool tar_find(const char *dir, bool *found, Fault *f); /* *.tar of KEY.jpg and KEY.cls, or one FILE.tar */
Dataset *tar_open(const DataRequest *r, Fault *f);
bool classes_find(const char *dir, bool *found, Fault *f); /* CLASS/, without splits */
Dataset *classes_open(const DataRequest *r, Fault *f);
bool flat_find(const char *dir, bool *found, Fault *f); /* pictures in one folder, without labels */
Dataset *flat_open(const DataRequest *r, Fault *f);
Dataset *pictures_open(Split split, Fault *f); /* drawn, not read */

/* ---- holdout.c ---- */

/* Of an undivided set, keeps the share that is the test split, or the rest. Of each class so many as are
 * nearest to the share, but never all: those of the smallest draws, so that a picture that is added moves few
 * others. */
bool holdout_keep(Dataset *d, double share, bool test, Fault *f);
/* What is held out of d, or all of it where it is undivided, without a second index. To be closed before d.
 */
Dataset *holdout_borrow(const Dataset *d, Fault *f);
/* The split that an opener opens: of a set that is to be divided, or taken whole, all there is. */
Split holdout_opens(const DataRequest *r, bool has_test);
uint64_t holdout_draw(const char *folder, const char *name); /* of a file: XXH64 with seed 0 of its name */

/* ---- data_file.c, data_gzip.c: for the openers ---- */

typedef struct {
    char *path; /* NULL: not open */
    int descriptor;
    uint64_t bytes; /* unpacked */
} DataFile;
/* What lies at a path, links followed: its mode, 0 where there is nothing. A fault where that cannot be told:
 * a folder on the way that may not be searched, a loop of links, a link to nothing. */
bool data_look(const char *path, mode_t *mode, Fault *f);
bool data_folder_find(const char *path, bool *found, Fault *f); /* pipes and the like are faults */
bool data_file_find(const char *dir, const char *name, bool *found, Fault *f); /* anything but a folder */
bool name_ends_in(const char *name, const char *ending);      /* and does not only consist of it */
char *data_path(const char *dir, const char *name, Fault *f); /* dir/name, by malloc */
/* What is wrong leaves it closed: what is no file, and a file without bytes, too. NAME.gz is unpacked into a
 * file without a name. */
bool data_file_open(DataFile *d, const char *dir, const char *name, Fault *f);
bool data_file_read(const DataFile *d, void *out, size_t bytes, uint64_t offset, Fault *f);
void data_file_close(DataFile *d); /* harmless when closed */
/* The names of the classes, one a line. They only make reports nicer, so a missing file or line is no fault.
 */
bool data_names_read(Dataset *d, const char *dir, const char *name, Fault *f);
/* The descriptor of the unpacked file, or -1. */
int gzip_unpack(int packed, const char *path, Fault *f);

/* ---- tar.c ---- */

enum { TAR_BLOCK = 512, TAR_NAME = 1024 };
typedef struct {
    char name[TAR_NAME];
    char type;              /* the header's: '0' a file, '5' a folder, ... */
    bool end;               /* the end's mark in place of a member; of the rest, `offset` alone is told */
    uint64_t offset, bytes; /* of what it holds, in the file */
    uint64_t next;          /* where the next one begins */
} TarMember;
/* The member that begins at `at`, with the headers in front that belong to it. */
bool tar_member(TarMember *m, const DataFile *file, uint64_t at, Fault *f);
bool tar_is_regular(const TarMember *m);
bool tar_check_end(const DataFile *file, uint64_t at, Fault *f); /* nothing but zeros from there on */
/* False with a fault where the whole file is compressed. */
bool tar_refuse_packed(const DataFile *file, Fault *f);

/* ---- fingerprint.c: whether data are the same, wherever they lie ---- */

/* A digest over the split as it was opened, limit and all: format, size, classes and labels of its images; of
 * folders and tar files the names of classes and files and the sizes of up to 64 files; of CIFAR, STL, IDX
 * and NumPy the pixels of up to 64 pictures. The same on every machine, under every path, packed or not.
 * Fails where a file can no longer be read. */
bool data_fingerprint(const Dataset *d, uint64_t *digest, Fault *f);
/* The same as words, without where they lie: "IDX, 60000 images in 10 classes, fingerprint 0123456789abcdef".
 */
bool data_identity(const Dataset *d, char *text, size_t size, Fault *f);
struct Fingerprint {
    Digest digest;
};
/* For the formats' `identify`. */
enum { FINGERPRINT_SAMPLES = 64 };
void fingerprint_text(Fingerprint *p, const char *text);
void fingerprint_number(Fingerprint *p, uint64_t number);
uint32_t fingerprint_samples(const Dataset *d); /* how many of the split's images are looked at */
uint32_t fingerprint_sample(const Dataset *d, uint32_t nth); /* which: from the first to the last */
/* An `identify`: the sampled pictures' pixels. */
bool fingerprint_pixels(const Dataset *d, Fingerprint *p, Fault *f);

/* ---- passed.c: what is there besides the pictures that are read ---- */

bool picture_is_read(const char *name); /* by its ending */
enum { PASSED_KINDS = 15, PASSED_TEXT = 640 };
typedef struct {
    uint32_t picture[PASSED_KINDS]; /* by ending; pictures that are not read */
    uint32_t other;                 /* files of other kinds */
    uint32_t hidden;                /* pictures and folders whose names begin with a point */
    uint32_t stray;                 /* pictures beside the classes' folders */
    uint32_t folders;               /* beside pictures of a flat folder */
    uint32_t loops, lost;           /* links back to a folder above; links to nothing */
} Passed;
void passed_file(Passed *p, const char *name);
void passed_hidden(Passed *p, const char *name, bool folder);
void passed_add(Passed *p, const Passed *more);
/* "3 .webp, 1 other file"; empty where there is nothing. */
void passed_text(const Passed *p, char text[PASSED_TEXT]);

/* ---- listing.c: the names of a split's pictures ---- */

typedef struct {
    uint32_t path;  /* where the folder's path below the root begins in the pool */
    uint32_t block; /* the first block of its names */
    uint32_t until; /* the number after its last picture */
} ListedPlace;
/* Names of the folder that is being listed, as they come. */
typedef struct {
    char *text;
    uint32_t *begin; /* (count) where each begins in the text */
    uint32_t length, count;
    size_t text_capacity, begin_capacity;
} FreshNames;
typedef struct {
    char *root;         /* DIR/train or DIR/test */
    char *pool;         /* paths of folders, packed names of files */
    uint32_t *block;    /* (blocks) where each block of names begins in the pool */
    ListedPlace *place; /* (places) folders */
    uint32_t pool_length, count, blocks, places;
    size_t pool_capacity, block_capacity, place_capacity;
    DataTell *tell; /* as in DataRequest */
    void *teller;
    uint32_t told; /* how often */
    FreshNames fresh;
} Listing;
bool listing_begin(Listing *l, const char *root, const DataRequest *r, Fault *f);
/* Where somebody wants to be told of what is wrong, tells, and is true; else false. */
bool listing_tell(Listing *l, const Fault *f);
void listing_free(Listing *l);
size_t listing_bytes(const Listing *l); /* that it holds */
/* A folder NAME in the one numbered `above`; -1: in the root. */
bool listing_add_place(Listing *l, int64_t above, const char *name, Fault *f);
const char *listing_place(const Listing *l, uint32_t place); /* its path below the root */
/* Names one by one, in any order; then, all of them in the folder. */
bool listing_add_name(Listing *l, const char *name, Fault *f);
bool listing_end_place(Listing *l, uint32_t place, Fault *f);
/* Puts the folders from `first` on in order, numbers their pictures, forgets those that have none. */
void listing_order(Listing *l, uint32_t first);
/* Of picture i, after listing_order: its file, its folder below the root, its whole path by malloc. */
void listing_name(const Listing *l, uint32_t i, char name[NAME_MAX + 1]);
const char *listing_folder(const Listing *l, uint32_t i);
char *listing_path(const Listing *l, uint32_t i, Fault *f);

/* ---- data_listed.c: a data set of the pictures that a listing names ---- */

/* Takes the listing; the labels and names of classes are the caller's to set. */
Dataset *listed_new(const char *format, int classes, Listing *l, Fault *f);

/* ---- data_pairs.c: pictures that are two views of one image ---- */

/* Where every picture of a listed set is NAME.1.EXT or NAME.2.EXT, and has the other beside it, makes each
 * two of them one image, and `format` the set's. Where only some are so, all stay as they are, and the remark
 * says so. */
bool pairs_join(Dataset *d, const char *format, Fault *f);

/* ---- data_walk.c ---- */

/* Lists the pictures below root/class_name behind those listed so far, and counts what it passes over. */
bool walk_class(Listing *l, const char *class_name, Passed *passed, Fault *f);
/* The same of the pictures directly in the root; folders are passed over. */
bool walk_flat(Listing *l, Passed *passed, Fault *f);
struct stat;
/* Whether to follow a link in the folder `path` to the folder `target` would lead round in a circle. */
bool walk_leads_back(const char *path, const struct stat *target, bool *back, Fault *f);

/* ---- data_files.c ---- */

/* Whether `path` is there and is `dir`, its labels, or a file in it but for arrays that are no data set's. */
bool data_has_file(const char *dir, const char *path);

/* ---- data_hint.c: what was meant, where no data set is found ---- */

/* A folder that seems to be the split under another name: Train/, val/. */
bool data_split_elsewhere(const char *dir, Split split, char name[NAME_MAX + 1]);
/* Why a folder is none of the formats, as far as its listing tells; `holds` says whether one is, `formats`
 * lists what it may hold. Always a fault.
 * data_explain_file: why a file will not do as DIR. */
/* data_is_else: that it is surely something else than it looks like: one split, a folder above a data set. */
bool data_is_else(const char *dir, bool (*holds)(const char *dir), Fault *f);
void data_explain(const char *dir, bool (*holds)(const char *dir), const char *formats, Fault *f);
void data_explain_file(const char *path, mode_t mode, bool (*holds)(const char *dir), Fault *f);

/* ---- augment.c: from a picture to its views ---- */

enum { MAX_VIEWS = 2 };
typedef struct Workspace Workspace; /* one thread's buffers for augmenting */
Workspace *workspace_new(const AmdimModel *m, Fault *f);
void workspace_free(Workspace *w);
/* What a view's chances are drawn from. */
typedef struct {
    uint64_t seed, epoch;
    uint32_t image; /* of the training split */
    int first;      /* view */
} ViewAddress;
/* Reads the image once, or of a set of pairs each view's picture, and makes views at->first, ... of it,
 * augmented and normalised, (H, W, C) into out[0], .... The model's steps in the order of docs/language.md:
 * flip, crop, translate, jitter, grayscale, blur, solarize; mean and std last. The picture is never held
 * whole where its format allows that. */
bool augment_read(const AmdimModel *m, Workspace *w, const Dataset *d, const ViewAddress *at, int views,
                  float *const *out, Fault *f);
/* Bytes that such views hold of a picture of that size while it is read, where they are not cropped. */
size_t augment_holds(const AmdimModel *m, Workspace *w, int width, int height, int views);
/* The picture as testing sees it: resized to cover the input, centre-cropped, normalised. */
bool augment_read_none(const AmdimModel *m, Workspace *w, const Dataset *d, uint32_t image, float *out,
                       Fault *f);
/* The same of a picture that is in memory. */
void augment_view(const AmdimModel *m, Workspace *w, const Picture *p, uint64_t seed, uint64_t epoch,
                  uint32_t image, int view, float *out);
void augment_none(const AmdimModel *m, Workspace *w, const Picture *p, float *out);

/* ---- loader.c: pictures prepared while the step runs ---- */

typedef struct Loader Loader;
/* Begins to prepare batches, or what is held of them (NULL: all), from `step` on: step s is batch s % (count
 * / B) of epoch s / (count / B); an incomplete last batch is left out. Fails when the set is smaller than a
 * batch. */
typedef struct Held Held;
Loader *loader_new(const AmdimModel *m, const Held *held, const Dataset *d, uint64_t seed, uint64_t step,
                   int threads, Fault *f);
/* The next step's views, as AmdimStep.x has them of what is held, the caller's to write over until the next
 * call. NULL with a fault when a picture could not be read, or a signal asked to end first. */
float *loader_next(Loader *l, Fault *f);
/* Ends the preparation; the memory of a batch, the caller's until loader_free. */
float *loader_end(Loader *l);
void loader_free(Loader *l);

/* ---- npy.c ---- */

typedef struct {
    NewFile file;
    uint64_t given, expected; /* bytes */
} NpyWriter;
bool npy_open(NpyWriter *w, const char *path, const char *descr, int rank, const int64_t *dims, Fault *f);
bool npy_give(NpyWriter *w, const void *data, size_t bytes, Fault *f);
bool npy_commit(NpyWriter *w, Fault *f);
void npy_discard(NpyWriter *w);
char *npy_labels_path(const char *path); /* FILE.npy: FILE.labels.npy, by malloc; NULL without memory */

/* ---- npy_read.c ---- */

enum { NPY_RANK = 4 }; /* dimensions that are kept; more are counted alone */
typedef struct {
    char type[16]; /* |u1, <i8, ... */
    bool fortran;  /* the first dimension runs fastest */
    int rank;
    uint64_t dims[NPY_RANK];
    uint64_t begin; /* of the elements, in the file */
} NpyHeader;
bool npy_read_header(NpyHeader *h, const DataFile *file, Fault *f);
/* That the file is as long as its shape makes it. */
bool npy_check_length(const NpyHeader *h, const DataFile *file, uint32_t element, Fault *f);

/* ---- layout.c: PyTorch's order and ours ---- */

/* (out, in, k, k) <-> (k*k*in) x out for rank 4; a copy for rank 1. */
void layout_inward(const AmdimTensor *t, const float *torch, float *ours);
void layout_outward(const AmdimTensor *t, const float *ours, float *torch);
/* ---- weights.c: initial values, loading, saving ---- */

void weights_init(const AmdimModel *m, uint64_t seed, float *params); /* docs/language.md, "Initial values" */
/* Loads every tensor of the model; one that is missing, misshapen or holds what is not finite is a fault that
 * names it. */
bool weights_load(const AmdimModel *m, const char *path, float *params, Fault *f);
bool weights_load_file(const AmdimModel *m, const TensorFile *file, float *params, Fault *f);
/* Loads those that fit by name and shape over what `params` holds; a note names the others. None is a fault.
 */
bool weights_load_fitting(const AmdimModel *m, const char *path, float *params, Fault *f);
/* One tensor shaped as t, under any name. weights_find faults where it is missing or misshapen; the others
 * turn between PyTorch's layout in the file and ours, with memory for this one tensor. */
const Stored *weights_find(const TensorFile *file, const char *name, const AmdimTensor *t, Fault *f);
bool weights_read(const TensorFile *file, const Stored *s, const AmdimTensor *t, float *ours, Fault *f);
void weights_announce(TensorWriter *w, const char *name, const AmdimTensor *t);
bool weights_give(TensorWriter *w, const AmdimTensor *t, const float *ours, Fault *f);

/* ---- optimizer.c ---- */

typedef struct Company Company;
typedef struct {
    const AmdimModel *model;
    size_t floats;    /* moments of one kind: of all trained floats, or of those that this process moves */
    float *moments;   /* Adam: first then second moments; SGD: momentum; or NULL */
    uint64_t steps;   /* taken so far */
    double lr;        /* of the step under way */
    Company *company; /* whose processes hold the others; or NULL */
} Optimizer;
bool optimizer_new(Optimizer *o, const AmdimModel *m, Fault *f);
bool optimizer_allocate(Optimizer *o, Fault *f); /* moments, all 0, of o->floats of each kind */
void optimizer_free(Optimizer *o);
int optimizer_moments(const AmdimModel *m);   /* kinds of moments */
size_t optimizer_floats(const AmdimModel *m); /* all of them, of the whole model */
/* base * min(1, (step + 1) / warmup) * gamma for every milestone whose epoch has begun, or the cosine's share
 * of it in a run of `total` steps. */
double optimizer_rate(const AmdimSchedule *s, double base, uint64_t step, uint64_t epoch, uint64_t total);
/* The same bits as adam_elements, by wider vectors where the processor has them. */
void adam_update(const AdamStep *a, size_t count, float *params, const float *gradient, float *moment,
                 float *second);
AdamStep optimizer_adam(const AmdimOptimizer *rule, double lr, uint64_t step);
/* Some numbers' update, whose moments lie at `at` among those of a kind. */
void optimizer_move(const Optimizer *o, size_t count, float *params, const float *gradient, size_t at);
/* One tensor's update, in parallel. */
void optimizer_take(Optimizer *o, AmdimPool *pool, float *params, int tensor, const float *gradient);

/* ---- keys.c: how a program trains, in its spec's words ---- */

enum { KEYS_TEXT = 1024 };
/* The keys of a section: "adam.lr 0.001; adam.eps 1e-08 (default)". */
void keys_describe(const AmdimModel *m, const char *section, char *text, size_t size);
/* Notes on what has no effect: in the spec, and of the schedule in a run of so many steps at that base rate.
 */
void keys_note(const AmdimModel *m, uint64_t total, uint64_t per_epoch, double lr);

/* ---- checkpoint.c: RUN/last.safetensors ---- */

/* How far a run is, and what it was begun with. */
typedef struct {
    uint64_t seed, step; /* step: steps finished */
    uint32_t limit;
    uint32_t
        left_out;   /* of these, the last ones in a row that changed nothing, for their loss was not finite */
    double lr;      /* the base rate */
    uint64_t total; /* of a cosine: the steps of the whole run as it was first begun; else 0 */
    char data[160]; /* what it is trained on, as data_identity writes it; empty: not known */
} Progress;
typedef struct {
    char *last, *previous; /* paths in the same folder */
    bool keep;             /* what is at `last` is whole, and stays as `previous` when the next is saved */
} CheckpointFiles;
typedef enum { CHECKPOINT_LOADED, CHECKPOINT_NOT_WHOLE, CHECKPOINT_REFUSED } CheckpointState;
/* Weights in PyTorch's layout, the optimiser's moments as
 * optimizer.NAME.{exp_avg,exp_avg_sq,momentum_buffer}, progress, a digest; the model's name, digest and
 * canonical spec in the metadata. The same state gives the same bytes. */
bool checkpoint_save(const AmdimModel *m, const CheckpointFiles *files, const float *params,
                     const Optimizer *o, const Progress *p, Fault *f);
/* What the other processes of a company do meanwhile. */
bool checkpoint_help(const AmdimModel *m, const Optimizer *o, Fault *f);
/* Not whole: it is not there, is damaged, lies on a damaged disk, or lacks something. Refused: it is of
 * another spec, or cannot be read for now (rights, memory), which says nothing of its bytes. */
CheckpointState checkpoint_load(const AmdimModel *m, const char *path, float *params, Optimizer *o,
                                Progress *p, Fault *f);
/* The last, or where that is not whole the previous, which a note says. Sets files->keep. */
CheckpointState checkpoint_load_newest(const AmdimModel *m, CheckpointFiles *files, float *params,
                                       Optimizer *o, Progress *p, Fault *f);

/* ---- step.c: all that a step needs, allocated once ---- */

/* The images of a batch that this process holds: all, or those of its shares. */
struct Held {
    int first, count, share; /* S */
};

typedef struct {
    const AmdimModel *model;
    AmdimPool *pool;
    float *params;
    AmdimStep step;     /* arena, locations, results; of a company the front, which company_step makes true */
    Held held;          /* whose views are step.x */
    Company *company;   /* of a model of several shares; else NULL */
    int32_t *locations; /* (located, V, B) of the whole batch */
} Machine;
bool machine_new(Machine *k, const AmdimModel *m, int threads, Fault *f);
void machine_free(Machine *k);
void machine_step(Machine *k);
/* Whether this process has nothing to do in a command that takes one. */
bool machine_rests(const Machine *k, const char *command);
/* Where image `image` of the batch, which is held, lies in a view of step.x: what is held lies share by
 * share. */
size_t held_row(const AmdimModel *m, const Held *h, int view, int image);
/* Pictures of normal noise in place of real ones, as step.x, by allocate. */
float *made_up_input(const Machine *k, uint64_t seed, Fault *f);
/* The source locations of step `step`: uniform, one draw for each row and image. */
void machine_draw_locations(Machine *k, uint64_t seed, uint64_t step);

/* ---- shares/company.c: the shares of a batch that this process holds ---- */

/* What `front` says of a step, its pool, parameters, views and locations, take and forward_done, all shares
 * go by; losses are those of the batch. It joins the other processes. */
Company *company_new(const AmdimModel *m, AmdimStep *front, Fault *f);
void company_free(Company *c);
void company_step(Company *c);
/* From here on gradients go to the optimizer, not to front->take; sets o->floats. */
bool company_optimizes(Company *c, Optimizer *o, Fault *f);
/* Without a company there is one process, number 0; it leads, and agrees with itself. */
int company_process(const Company *c);
int company_processes(const Company *c);
/* What a process of several shares may take above AmdimModel.peak_bytes, which is one's of a share. */
size_t company_bytes(const Company *c);
bool company_leads(const Company *c);
/* Of flags, those that any process gives. */
unsigned company_agree(const Company *c, unsigned flags);
/* What process 0 has there, all have. */
void company_tell(const Company *c, void *memory, size_t bytes);
/* Whether all processes give the same text; else false with a fault that names the first which does not, and
 * what it gives. `what` is what they are to agree on. */
bool company_compare(const Company *c, const char *text, const char *what, Fault *f);
/* Some processes have failed, this one too if so: f gets the fault of the first, with its rank and host. */
void company_hear(const Company *c, bool has_failed, Fault *f);
/* Moments of one kind of a tensor, which all processes ask for together: until the next is asked for. */
const float *company_moments(Company *c, int kind, int tensor);
/* Keeps, of the whole model's moments, those of this process. */
void company_keep_moments(Company *c, const Optimizer *whole);

/* ---- shares/moments.c ---- */

/* An optimizer that holds the moments of what its company has this process move; c may be NULL. */
bool optimizer_join(Optimizer *o, const AmdimModel *m, Company *c, Fault *f);
/* A tensor's moments of one kind; of a company, see company_moments. */
const float *optimizer_moment(const Optimizer *o, int kind, int tensor);

/* ---- shares/join.c ---- */

/* Joins the other processes of a model of several shares, once. */
bool company_join(const AmdimModel *m, int *process, int *processes, Fault *f);
/* How many processes a launcher says that it has started; 1 where there is none. */
int company_launched(void);
/* All processes come to the same end, whatever their exit code. */
void company_ends_together(void);
/* The same of a failure that all have found, which process 0 says. Always false. */
bool company_fails(Fault *f);
/* The last of a program, when its line is said: all processes part, none before all have come here; or, where
 * this one fails alone, all end. */
void company_end(int code);
/* "rank 1 on HOST: " where there are others, else "". */
const char *company_name(void);

/* ---- shares/watch.c ---- */

/* The last checkpoint is of that step, or there is none yet (0): what a process says that ends because
 * another is gone. */
void company_keeps(uint64_t step);

/* ---- peak.c ---- */

/* GFLOP/s that the pool's threads reach together in multiply-adds of vectors, while they run; measured for so
 * long. */
double multiply_add_peak(AmdimPool *pool, double seconds);

/* ---- profile.c: where the time of a step goes ---- */

/* One operation of the steps; told apart by the address of what it is. */
typedef struct {
    const AmdimOp *op;
    double *seconds; /* (steps) */
    int runs;        /* in the latest step */
} ProfileRow;
/* At any time one operation runs, or none. Times are the caller's, from any clock. */
typedef struct {
    ProfileRow *row; /* in the order in which they first began */
    int rows, capacity;
    int running; /* a row, or -1 */
    double since;
    size_t steps, step;
    Fault *fault;
    bool failed; /* out of memory; the fault says so */
} Profile;
void profile_new(Profile *p, size_t steps, Fault *f);
void profile_free(Profile *p);
void profile_step(Profile *p, size_t step); /* a step begins; one so numbered before is forgotten */
void profile_begin(Profile *p, const AmdimOp *op, double now); /* NULL: none runs from here on */
/* Another operation in the midst of one, to be resumed: returns the one that ran. */
int profile_interrupt(Profile *p, const AmdimOp *op, double now);
void profile_resume(Profile *p, int row, double now);

/* What a profile is held against. */
typedef struct {
    const double *weight; /* (steps) for averages, see weigh_middle_half */
    double seconds;       /* a step, so averaged */
    double peak;          /* GFLOP/s */
} ProfileScale;
/* Each operation, then sums by kind and implementation, as tables. */
void profile_print(const Profile *p, const ProfileScale *s, FILE *stream);
/* A list of objects, one an operation. */
void profile_json(const Profile *p, const ProfileScale *s, FILE *stream);

/* ---- features.c: encoding a split ---- */

/* Encodes every image of d as testing sees it, in batches of N, in order, and hands each batch's features on:
 * `count` images, each side*side*channels floats, pixels x channels. */
typedef bool FeatureSink(void *sink, uint32_t first, uint32_t count, const float *features, Fault *f);
bool features_each(Machine *k, const AmdimFeature *feature, const Dataset *d, FeatureSink *sink, void *arg,
                   Fault *f);
const AmdimFeature *feature_of_scale(const AmdimModel *m, int scale, bool raw); /* NULL where there is none */
/* What features_each holds, at most, beside what decoding may. */
size_t features_bytes(const AmdimModel *m, const AmdimFeature *feature, int threads);
/* All of them at once: (count, side*side*channels), by allocate. */
float *features_all(Machine *k, const AmdimFeature *feature, const Dataset *d, Fault *f);
/* The pictures themselves, as testing sees them: (count, H*W*C). */
float *features_pixels(Machine *k, const Dataset *d, Fault *f);

/* ---- lbfgs.c: the minimum of a smooth function ---- */

/* The function's value at x; writes the gradient there. */
typedef double Objective(void *arg, const double *x, double *gradient);
/* Goes from x (count) down to where the gradient's norm is `tolerance` times that at the start, or where the
 * function's own rounding lets it fall no further, or `most` iterations on. A signal received ends it with a
 * fault. */
bool lbfgs_minimise(Objective *value, void *arg, size_t count, double *x, double tolerance, int most,
                    int *iterations, Fault *f);
size_t lbfgs_bytes(size_t count); /* that it holds */

/* ---- probe.c: what a classifier reads out of frozen features ---- */

typedef struct {
    uint32_t count;
    const float *x;        /* (count, dims) */
    const uint16_t *label; /* (count), below classes */
    uint16_t *guess;       /* (count) what a head takes them for, written unless it is NULL; of test rows */
} ProbeRows;
typedef struct {
    double accuracy;       /* 0..1 over all test images */
    double train_accuracy; /* over the training images; NAN where a head has none */
    uint32_t images;       /* test images counted */
    const char *head;      /* NULL: linear */
} ProbeResult;
/* Fits a classifier to the training rows and counts how many test rows it is right about. Only that count
 * touches the test rows. Random draws come from `seed`; the result is the same at any number of threads. */
typedef bool Probe(AmdimPool *pool, int classes, int dims, uint64_t seed, const ProbeRows *train,
                   const ProbeRows *test, ProbeResult *out, Fault *f);
Probe *probe_named(const char *head); /* "linear", "mlp" or "knn"; NULL for another name */

/* ---- probe_linear.c ---- */

/* Multinomial logistic regression with a bias on standardised features: the scores of a row x are
 * ((x - mean) * scale, 1) times the weights, of which row `dims` is the bias. A column that does not vary has
 * scale 0. */
typedef struct {
    int classes, dims;
    size_t rows, columns; /* of weight: dims + 1 and classes, rounded up with zeros */
    float *mean, *scale;  /* (rows) */
    float *weight;        /* (rows, columns) */
} Logistic;
/* Minimises the mean cross-entropy + |weights but the bias|^2 / (2 * count), the scale of scikit-learn's C =
 * 1, by L-BFGS to convergence. */
bool logistic_fit(Logistic *l, AmdimPool *pool, int classes, int dims, const ProbeRows *rows, int *iterations,
                  Fault *f);
/* The share of rows whose arg max is their label. */
bool logistic_accuracy(const Logistic *l, AmdimPool *pool, const ProbeRows *rows, double *accuracy, Fault *f);
void logistic_free(Logistic *l);
size_t logistic_bytes(int classes, int dims, int threads); /* that fitting and counting hold, at most */
Probe probe_linear;

/* ---- probe_mlp.c, probe_knn.c ---- */

/* One hidden layer of 1024 on standardised features, batchnorm, ReLU, dropout 0.2, cross-entropy; Adam. */
Probe probe_mlp;
/* The 20 nearest training rows by cosine vote for their classes, a row at similarity s with exp(s / 0.07). */
Probe probe_knn;
size_t knn_bytes(int classes, int dims, int threads); /* that it holds beside 8 bytes a row, at most */

/* ---- confusion.c: RUN/probe.json, which classes the latest probes take for which ---- */

/* Of data with more classes there is none. */
enum { CONFUSION_CLASSES = 128, PROBE_HEADS = 2 };
typedef struct {
    int classes, heads;
    uint64_t step; /* of the run; 0: there has been no probe */
    const char *head[PROBE_HEADS];
    uint32_t *count[PROBE_HEADS]; /* (classes, classes) test images of a class that are taken for one */
} Confusions;
/* Counts a head's guesses; without memory, or of too many classes, nothing. */
void confusion_add(Confusions *c, const char *head, int classes, const ProbeRows *test);
bool confusions_write(const Confusions *c, const Dataset *test, const char *path, Fault *f);
bool confusions_read(Confusions *c, const char *path); /* false, and empty: it is no such file, or none */
void confusions_free(Confusions *c);

/* ---- probe_split.c: a probe on a data set's labelled splits ---- */

typedef struct {
    DataRequest data;   /* its split is not looked at */
    bool pixels;        /* the pictures themselves in place of f_1 */
    bool say;           /* what was found, on stderr */
    const char *head;   /* as in probe_named */
    const char *second; /* another on the same features, or NULL */
    uint64_t seed;
    uint64_t step;                        /* of a run, for the next */
    const char *keep;                     /* where to write who is taken for whom, or NULL */
    bool (*may_keep)(const void *keeper); /* asked before that, or NULL */
    const void *keeper;
} ProbeSplits;
/* Encodes both splits by k's weights, with running statistics; of k only the arena is written. A signal that
 * was received ends it with a fault. `out` has a result a head. What cannot be kept is noted. */
bool probe_splits(Machine *k, const ProbeSplits *p, ProbeResult *out, Fault *f);
/* "61.2 % (95 % interval 60.2 to 62.2 %) of 10000 test images (training images: 70.1 %)" */
void probe_describe(const ProbeResult *r, char *text, size_t size);
/* What the probes of f_1, linear and kNN, hold beside the machine, at most, in bytes. */
typedef struct {
    uint64_t training, rest; /* the training split's features, all else */
    uint64_t image;          /* one image's features */
    int classes;
} ProbeMemory;
bool probe_splits_memory(const AmdimModel *m, const ProbeSplits *p, int threads, ProbeMemory *out, Fault *f);

/* ---- options.c, options_usage.c, options_completion.c: the command line ---- */

typedef struct {
    const char *command;
    const char *data, *out, *weights, *batch, *head, *split, *labels, *on_nan;
    int64_t epochs, steps, limit, count; /* -1: not given */
    int64_t probe_every;                 /* epochs; 0: not given */
    const char *probe_heads;             /* NULL: linear */
    int64_t checkpoint_every;            /* steps; 0: not given */
    double lr;                           /* 0: not given */
    double holdout;                      /* 0: not given */
    bool split_given;
    bool skip_nan;      /* --on-nan skip */
    int64_t stop_after; /* seconds; 0: not given */
    int scale;          /* 0: not given */
    bool raw;           /* f_d in place of phi_d */
    uint64_t seed;      /* 0 unless given */
    bool seed_given;
    bool coarse; /* --labels coarse */
    int threads; /* the model's unless given */
    bool resume, json, profile, nice;
    bool untrained, pixels; /* what to probe instead of --weights */
    bool quiet;             /* nothing of progress */
    /* --help was among the arguments, or --version, or the first is --completion; nothing else is promised
     * then but `command`. */
    bool help, version, completion;
} Options;
/* argv[0] is the program. False: what to print is in the fault (usage, exit 2). */
bool options_parse(Options *o, const AmdimModel *m, int argc, char **argv, Fault *f);
/* How to call one command, or with NULL the whole program. */
void options_usage(const AmdimModel *m, const char *program, const char *command, FILE *stream);
void options_completion(const char *program, FILE *stream); /* for bash to source */
const char *options_program(int argc, char **argv);         /* argv[0] without its folders */

/* ---- train_probe.c: probes during training ---- */

typedef struct {
    ProbeSplits splits;
    uint64_t every, last; /* after how many steps, and after which one in any case; every 0: never */
    uint64_t done;        /* the steps after which the latest probe was made; 0: none */
    uint64_t bytes;       /* the most that the program holds while it probes */
} Probing;
/* Looks at both splits; refuses when the probe does not fit into the memory that the spec allows. `limit` is
 * the run's, `per_epoch` and `total` are steps. */
bool probing_begin(Probing *p, const AmdimModel *m, const Options *o, uint32_t limit, uint64_t per_epoch,
                   uint64_t total, Fault *f);
/* What a whole `train` holds at most on so many threads, without probes: promised for the spec's. */
uint64_t train_peak_bytes(const AmdimModel *m, int threads);
/* "linear", "knn", or both with a comma between. */
bool probing_heads(ProbeSplits *splits, const char *list);
bool probing_is_due(const Probing *p, uint64_t step); /* after so many steps */
/* Of a run that goes on after `step`: the probe after it is due still if the last line of the metrics is of
 * that step and has none. */
bool probing_resume(Probing *p, const AmdimModel *m, const char *metrics, uint64_t step, Fault *f);

/* ---- train.c and the other commands: each returns the exit code ---- */

int command_train(const AmdimModel *m, const Options *o, Fault *f);
int command_probe(const AmdimModel *m, const Options *o, Fault *f);
int command_encode(const AmdimModel *m, const Options *o, Fault *f);
int command_replay(const AmdimModel *m, const Options *o, Fault *f);
int command_views(const AmdimModel *m, const Options *o, Fault *f);
int command_check(const AmdimModel *m, const Options *o, Fault *f);
int command_bench(const AmdimModel *m, const Options *o, Fault *f);
int command_selfcheck(const AmdimModel *m, const Options *o, Fault *f);
int command_info(const AmdimModel *m, const Options *o, Fault *f);

/* ---- run.c: the folder of a run ---- */

typedef struct {
    const char *folder;
    CheckpointFiles checkpoint; /* FOLDER/last.safetensors and FOLDER/previous.safetensors */
    char *metrics;              /* FOLDER/metrics.jsonl */
    char *probe;                /* FOLDER/probe.json */
    int lock;                   /* the folder's descriptor; -1 before it is claimed */
    bool was_missing;           /* the folder, when it was first to be claimed */
} Run;
bool run_open(Run *r, const char *folder, Fault *f); /* the names alone; nothing is looked at or made */
void run_close(Run *r);
bool run_holds_weights(const Run *r);
bool run_holds_previous(const Run *r);
/* Where the folder is there, keeps other programs from training into it until run_close, refuses one that
 * holds a run unless this one `resumes`, and removes what programs that died have left. Harmless a second
 * time. */
bool run_claim(Run *r, bool resumes, Fault *f);
/* Of a folder that is claimed: whether it is still where it was; another one there is another program's. */
bool run_is_here(const Run *r, Fault *f);
bool run_keeps_last(const Run *r);     /* likewise, and last.safetensors is there */
bool run_make(const Run *r, Fault *f); /* the folder, and those above it */
/* False where the path is a file of a run that a program trains at this moment. */
bool run_may_be_written(const char *path, Fault *f);

/* ---- metrics.c: RUN/metrics.jsonl, one object a line ---- */

/* What is not open is passed over by all below but metrics_open: a run goes on without. */
typedef struct {
    FILE *stream;
    char *path;
    double flushed; /* when, by clock_seconds */
} Metrics;
/* What kept lines end with. */
typedef struct {
    double loss;    /* the last one's, NAN without one */
    double base_lr; /* the last that --lr gave; 0: none */
    bool whole;     /* there is a line for every step */
} MetricsEnd;
/* Keeps the lines of steps up to `step` and drops the rest, so that a run that goes on from there has the
 * file of one never stopped; a note says how many of them are missing. */
bool metrics_cut(const AmdimModel *m, const char *path, uint64_t step, MetricsEnd *end, Fault *f);
bool metrics_open(Metrics *k, const char *path, Fault *f); /* to write on */
bool metrics_write(Metrics *k, const AmdimModel *m, const MetricsRow *row, Fault *f);
/* Adds a probe's results to the line written last, of all heads at once, and flushes. */
bool metrics_probe(Metrics *k, const ProbeResult *result, int heads, Fault *f);
bool metrics_flush(Metrics *k, Fault *f);
void metrics_close(Metrics *k);
/* Hands every readable row on, in order; no file is no rows. */
bool metrics_of_model(const AmdimModel *m, const char *path, MetricsSink *sink, void *arg, Fault *f);

/* ---- tensorboard.c: RUN/events.out.tfevents.SECONDS.HOST ---- */

typedef struct {
    FILE *stream;
    char *path;
    double written, flushed; /* when, by clock_seconds */
} Events;
/* A new file of a run that has finished `steps` steps; of the folder's other files, what they have of later
 * steps is void. */
bool events_open(Events *e, const char *folder, uint64_t steps, Fault *f);
/* The row's scalars, unless others were written less than a second ago and it need not be `always`. */
bool events_write(Events *e, const AmdimModel *m, const MetricsRow *row, bool always, Fault *f);
bool events_probe(Events *e, uint64_t step, const ProbeResult *r, Fault *f);
bool events_flush(Events *e, Fault *f); /* of a file that is open, else nothing */
void events_close(Events *e);

/* ---- report.c, report_*.c: RUN/report.html ---- */

typedef enum { REPORT_RUNNING, REPORT_STOPPED, REPORT_FINISHED, REPORT_FAILED } ReportPhase;
/* How a run stands between two steps. */
typedef struct {
    const char *run; /* its folder, with metrics.jsonl */
    ReportPhase phase;
    const char *reason; /* why it failed, else NULL; the page then shows nothing of the weights */
    bool early;         /* so early that nothing shall wait for features: nothing of the weights either */
    time_t now;
    uint64_t seed;
    uint64_t step, total;   /* steps finished, and of the whole run */
    uint64_t epoch;         /* that the last of them was in */
    const Dataset *data;    /* what is trained on */
    const char *data_dir;   /* where the test split is; NULL: the built-in pictures */
    double holdout;         /* as in DataRequest */
    const Machine *machine; /* its arena is written, its weights are read */
    float *room;            /* for V*B pictures, written; NULL: there is none yet */
} ReportState;
/* Pictures that cannot be read are no fault: the page says so in their place. */
bool report_write(const AmdimModel *m, const ReportState *state, Fault *f);

/* ---- embedding.c ---- */

/* Numbers [first, first + count) of the embeddings of a scale, as floats. During forward_done. */
void step_embedding(const AmdimStep *step, int scale, size_t first, size_t count, float *to);

/* ---- mixture.c: antecedents outside of a step ---- */

/* How many antecedents a pair has at a location: a mixture's components, or 1. */
int antecedents_of(const AmdimModel *m, const AmdimPair *pair);
/* What a pair compares of an embedding phi (R): phi itself, or the components of a mixture; out
 * (antecedents_of, R). */
bool antecedents(const AmdimModel *m, const AmdimPair *pair, const float *params, const float *phi,
                 float *out, Fault *f);

/* ---- diverged.c ---- */

/* The largest magnitude of a pair's raw scores r (section 3.3, before clipping) in the step whose embeddings
 * lie there, of a mixture over all components; NAN where one is no number, -1 without memory to tell. During
 * forward_done. */
double largest_score(const AmdimModel *m, const AmdimStep *step, int pair);
/* Of a step whose loss is not finite: "pair 1-to-5, with a largest score of 3.2e+21". During forward_done. */
void diverged_describe(const AmdimModel *m, const AmdimStep *step, char *text, size_t size);

/* ---- progress.c: how far training is, on stderr ---- */

typedef struct {
    FILE *stream;
    bool terminal; /* one line drawn anew; else a line now and then */
    int batch;
    uint64_t total, per_epoch; /* steps */
    double pace;               /* seconds a step with all that goes with it, smoothed; 0 before the first */
    double stepped, shown;     /* when, by clock_seconds */
} Meter;
void meter_begin(Meter *k, FILE *stream, int batch, uint64_t total, uint64_t per_epoch);
void meter_step(Meter *k, uint64_t finished, double loss); /* after every step */
/* A line of its own; the time since the last step then counts for no step. */
void meter_say(Meter *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
void meter_progress(Meter *k, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* unless quiet */
void meter_end(Meter *k);                  /* leaves the cursor on a line of its own */

/* ---- signals.c ---- */

/* From here on SIGINT, SIGTERM, SIGXCPU, SIGUSR2 and, unless it is ignored, SIGHUP ask the program to end,
 * SIGUSR1 to save. A second SIGINT that comes a second later or more ends it at once. */
void signals_watch(void);
int signals_received(void);             /* the first that asked to end, or 0 */
void signals_follow(int signal_number); /* another process of the training received it */
bool signals_take_save(void);           /* SIGUSR1 has come since the last call */
int signals_exit_code(void);            /* of a program that ends for one: 128 + its number, 75 for SIGUSR2 */
int exit_code(bool done);               /* of a command that a signal may have ended: 0, that, or 1 */

#endif
