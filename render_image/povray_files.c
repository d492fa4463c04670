/* What POV-Ray 3.7 does with files, told and kept from harm; loaded into it with LD_PRELOAD.
 *
 * trace_scene.py runs an animation's whole loop with it. POV-Ray opens all of a scene's files with
 * fopen (tried: #include, #fopen, file_exists, image maps, fonts). Here
 *
 *   - each of them is noted in $POVSTORM_TRACE/accesses;
 *   - what is written goes to $POVSTORM_TRACE/written, and is read from there again, so that the
 *     user's own folders, which are read-only, seem to change as they would;
 *   - a file that an earlier frame wrote is kept in $POVSTORM_TRACE/kept, as this frame finds it,
 *     when it is read;
 *   - an image that an earlier frame would have rendered is there, as $POVSTORM_TRACE_STANDIN.
 *     $POVSTORM_TRACE_IMAGES tells which those are: the loop's first frame, its step, the first frame
 *     of this run, the digits of a number in a name, and the path without number and ending, with
 *     blanks between;
 *   - a file that is not there is, where $POVSTORM_TRACE_ALIASES, a file of texts each ended by a
 *     zero byte, has another for it: the path, and after it the other's.
 *
 * A frame begins when its parser, a thread of its own, opens the scene, $POVSTORM_TRACE_SCENE (tried:
 * POV-Ray looks for a file in its front end's thread, with mode "r", and reads it in the parser's,
 * with "rb"; the next frame's parser starts when the last one has been rendered).
 *
 * A note is three texts, each ended by a zero byte: what (R read, A absent, W written anew,
 * P appended to, F a frame begins, I an earlier frame's image read, N a pipe, which is not opened, as POV-Ray would wait
 * for who writes to it), the absolute path, and the name in kept/ or nothing.
 *
 * No headers are included, as in povray_waits.c.
 */

typedef struct stream FILE;

extern void *dlsym(void *handle, const char *name);
extern char *getenv(const char *name);
extern char *getcwd(char *buffer, unsigned long size);
extern int open(const char *path, int flags, ...);
extern long read(int file, void *buffer, unsigned long size);
extern long write(int file, const void *buffer, unsigned long size);
extern long lseek(int file, long offset, int from);
extern int close(int file);
extern int statx(int folder, const char *path, int flags, unsigned mask, void *found);
extern void *realloc(void *memory, unsigned long size);
extern unsigned long strlen(const char *text);
extern int strcmp(const char *one, const char *other);
extern int strncmp(const char *one, const char *other, unsigned long size);
extern char *strrchr(const char *text, int character);
extern char *strdup(const char *text);
extern void *memcpy(void *to, const void *from, unsigned long size);
extern int snprintf(char *text, unsigned long size, const char *format, ...);
extern int pthread_mutex_lock(void *mutex);
extern int pthread_mutex_unlock(void *mutex);
extern int gettid(void);
extern long strtol(const char *text, char **end, int base);
extern int *__errno_location(void);

#define NEXT ((void *)-1L) /* RTLD_NEXT */
#define LONGEST 4096       /* bytes of a path, as the kernel has it */
#define ENOENT 2
#define ENXIO 6
#define ENAMETOOLONG 36
#define O_RDONLY 0
#define O_WRONLY 1
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_APPEND 02000
#define SEEK_END 2
#define AT_FDCWD -100
#define STATX_TYPE 1
#define S_IFMT 0170000
#define S_IFIFO 0010000

typedef FILE *opener(const char *name, const char *mode);

/* A file that the animation wrote. */
struct written {
    char *path;
    unsigned long hash;
    long frame;  /* that changed it last; frames count from 0 here */
    long before; /* bytes that it had when that frame first appended to it; -1: written anew */
    long kept;   /* the last frame that a copy was kept for, -1 for none */
};

static long lock[8]; /* pthread_mutex_t: zeros are an unlocked one (glibc) */
static char *folder, *scene; /* $POVSTORM_TRACE, $POVSTORM_TRACE_SCENE */
static char *standin, *images; /* $POVSTORM_TRACE_STANDIN; of $POVSTORM_TRACE_IMAGES the path */
static const char *ending;     /* of the stand-in, and so of the loop's images: ".png" */
static long first, step, begun, digits;
static char *aliases; /* the content of $POVSTORM_TRACE_ALIASES, and one zero more */
static int notes = -1;
static long frame = -1;
static int parser; /* its thread */
static struct written *files;
static long count, room;

static void begin_images(void)
{
    char *rest = getenv("POVSTORM_TRACE_IMAGES");

    standin = getenv("POVSTORM_TRACE_STANDIN");
    ending = standin ? strrchr(standin, '.') : 0;
    if (!rest || !ending)
        return;
    first = strtol(rest, &rest, 10);
    step = strtol(rest, &rest, 10);
    begun = strtol(rest, &rest, 10);
    digits = strtol(rest, &rest, 10);
    if (*rest == ' ' && step > 0)
        images = rest + 1;
}

static void begin_aliases(void)
{
    const char *path = getenv("POVSTORM_TRACE_ALIASES");
    int file = path ? open(path, O_RDONLY) : -1;
    long size;

    if (file < 0)
        return;
    size = lseek(file, 0, SEEK_END);
    lseek(file, 0, 0);
    aliases = size < 0 ? 0 : realloc(0, size + 1);
    if (aliases)
        aliases[read(file, aliases, size) == size ? size : 0] = 0;
    close(file);
}

static int begin(void)
{
    char path[LONGEST];

    if (notes >= 0)
        return 1;
    folder = getenv("POVSTORM_TRACE");
    scene = getenv("POVSTORM_TRACE_SCENE");
    if (!folder || !scene || strlen(folder) > LONGEST / 2)
        return 0;
    begin_images();
    begin_aliases();
    snprintf(path, sizeof path, "%s/accesses", folder);
    notes = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    return notes >= 0;
}

/* Whole notes only: one write each, so that a killed process leaves no half of one in the middle. */
static void note(char what, const char *path, const char *kept)
{
    char text[2 * LONGEST];
    unsigned long length = strlen(path), more = strlen(kept);

    text[0] = what;
    text[1] = 0;
    memcpy(text + 2, path, length + 1);
    memcpy(text + 3 + length, kept, more + 1);
    (void)!write(notes, text, length + more + 4);
}

/* The absolute path without ".", ".." and doubled slashes; whether there was room for it. */
static int absolute(const char *name, char *path)
{
    char whole[2 * LONGEST];
    const char *from;
    char *to = path;

    if (strlen(name) >= LONGEST - 2)
        return 0;
    if (name[0] == '/') {
        whole[0] = 0;
    } else {
        if (!getcwd(whole, LONGEST))
            return 0;
    }
    from = whole + strlen(whole);
    snprintf(whole + (from - whole), sizeof whole - (from - whole), "/%s", name);
    for (from = whole; *from;) {
        const char *end;

        while (*from == '/')
            from++;
        for (end = from; *end && *end != '/'; end++)
            ;
        if (end - from == 2 && from[0] == '.' && from[1] == '.') {
            while (to > path && *--to != '/')
                ;
        } else if (end > from && !(end - from == 1 && from[0] == '.')) {
            if (to - path + (end - from) + 2 > LONGEST)
                return 0;
            *to++ = '/';
            memcpy(to, from, end - from);
            to += end - from;
        }
        from = end;
    }
    *to = 0;
    return 1;
}

static unsigned long hash_of(const char *path)
{
    unsigned long hash = 5381;

    while (*path)
        hash = hash * 33 + (unsigned char)*path++;
    return hash;
}

/* Where in files a path is; -1 for one that nobody wrote. */
static long find(const char *path)
{
    unsigned long hash = hash_of(path);
    long index;

    for (index = 0; index < count; index++)
        if (files[index].hash == hash && strcmp(files[index].path, path) == 0)
            return index;
    return -1;
}

static long add(const char *path)
{
    if (count == room) {
        long more = room ? 2 * room : 64;
        void *larger = realloc(files, more * sizeof *files);

        if (!larger)
            return -1;
        files = larger;
        room = more;
    }
    files[count].path = strdup(path);
    if (!files[count].path)
        return -1;
    files[count].hash = hash_of(path);
    files[count].frame = files[count].kept = -1;
    files[count].before = -1;
    return count++;
}

static void stored(long index, char *path)
{
    snprintf(path, LONGEST, "%s/written/%ld", folder, index);
}

/* Copy the first so many bytes, all for -1; whether that was possible. */
static int copy(const char *from, const char *to, long most)
{
    char block[65536];
    int source = open(from, O_RDONLY), target;
    long got = 0, done = 0;

    if (source < 0)
        return 0;
    target = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (target < 0) {
        close(source);
        return 0;
    }
    while ((most < 0 || done < most) && (got = read(source, block, sizeof block)) > 0) {
        if (most >= 0 && got > most - done)
            got = most - done;
        if (write(target, block, got) != got) {
            got = -1;
            break;
        }
        done += got;
    }
    close(source);
    return close(target) == 0 && got >= 0;
}

static long size_of(const char *path)
{
    int file = open(path, O_RDONLY);
    long size;

    if (file < 0)
        return -1;
    size = lseek(file, 0, SEEK_END);
    close(file);
    return size;
}

/* Whether it is a pipe, by statx(2), whose answer is alike on all machines: 256 bytes, the mode at 28. */
static int is_pipe(const char *path)
{
    unsigned short found[128];

    return statx(AT_FDCWD, path, 0, STATX_TYPE, found) == 0 && (found[14] & S_IFMT) == S_IFIFO;
}

static FILE *refuse_pipe(const char *path)
{
    note('N', path, "");
    *__errno_location() = ENXIO;
    return 0;
}

/* Keep what this frame found in a file at its beginning; the copy's name, "" if there is none. */
static void keep(long index, char *name)
{
    struct written *file = &files[index];
    char from[LONGEST], to[LONGEST];
    long most = -1;

    name[0] = 0;
    if (file->kept == frame)
        return;
    if (file->frame == frame) {
        if (file->before < 0)
            return;
        most = file->before;
    }
    snprintf(name, 64, "%ld-%ld", frame, index);
    stored(index, from);
    snprintf(to, sizeof to, "%s/kept/%s", folder, name);
    if (copy(from, to, most))
        file->kept = frame;
    else
        snprintf(name, 64, "?"); /* told, as the frame could not be given what it needs */
}

/* Whether an earlier frame of the loop would have rendered the file. */
static int is_earlier_image(const char *path)
{
    unsigned long length;
    long number;
    char name[LONGEST];

    if (!images)
        return 0;
    length = strlen(images);
    if (strncmp(path, images, length) != 0 || path[length] < '0' || path[length] > '9')
        return 0;
    number = strtol(path + length, 0, 10);
    snprintf(name, sizeof name, "%s%0*ld%s", images, (int)digits, number, ending);
    return strcmp(path, name) == 0 && number >= first && (number - first) % step == 0 &&
           number < begun + frame * step;
}

/* The path that another is there under, 0 if there is none. */
static const char *alias_of(const char *path)
{
    const char *each = aliases;

    while (each && *each) {
        const char *other = each + strlen(each) + 1;

        if (strcmp(each, path) == 0)
            return other;
        each = other + strlen(other) + 1;
    }
    return 0;
}

static FILE *read_file(const char *name, const char *mode, const char *path, opener *next)
{
    char from[LONGEST], kept[64] = "";
    long index = find(path);
    FILE *file;

    if (index < 0 && is_earlier_image(path)) {
        note('I', path, "");
        return next(standin, mode);
    }
    if (index >= 0) {
        keep(index, kept);
        stored(index, from);
        name = from;
    }
    file = next(name, mode);
    if (!file && index < 0 && alias_of(path)) {
        path = alias_of(path);
        if (is_pipe(path))
            return refuse_pipe(path);
        file = next(path, mode);
    }
    note(file ? 'R' : 'A', path, kept);
    return file;
}

/* Append: POV-Ray opens "r+b" first, and "w+b" if there is no such file. */
static FILE *change_file(const char *name, const char *mode, const char *path, opener *next)
{
    char to[LONGEST];
    long index = find(path), size;

    if (index < 0) {
        size = size_of(name);
        if (size < 0) {
            *__errno_location() = ENOENT;
            note('A', path, "");
            return 0;
        }
        note('R', path, ""); /* what is there at home is needed */
        index = add(path);
        if (index < 0)
            return 0;
        stored(index, to);
        if (!copy(name, to, -1))
            return 0;
        files[index].frame = frame;
    }
    stored(index, to);
    if (files[index].frame != frame) {
        files[index].before = size_of(to);
        files[index].frame = frame;
    }
    note('P', path, "");
    return next(to, mode);
}

/* Whether the folder of a path is there, or is the job's own ./output, which is there in frames. */
static int has_folder(const char *path, opener *next)
{
    char parent[LONGEST], output[LONGEST];
    char *slash = parent;
    long index;
    FILE *file;
    int (*end)(FILE *) = (int (*)(FILE *))dlsym(NEXT, "fclose");

    memcpy(parent, path, strlen(path) + 1);
    for (index = 0; parent[index]; index++)
        if (parent[index] == '/')
            slash = parent + index;
    *slash = 0;
    if (absolute("output", output) && strcmp(parent, output) == 0)
        return 1;
    file = is_pipe(parent) ? 0 : next(*parent ? parent : "/", "r");
    if (!file)
        return 0;
    end(file);
    return 1;
}

static FILE *write_file(const char *mode, const char *path, opener *next)
{
    char to[LONGEST];
    long index = find(path);

    if (index < 0) {
        if (!has_folder(path, next)) {
            *__errno_location() = ENOENT;
            return 0;
        }
        index = add(path);
        if (index < 0)
            return 0;
    }
    files[index].frame = frame;
    files[index].before = -1;
    stored(index, to);
    note('W', path, "");
    return next(to, mode);
}

static int is_own(const char *path)
{
    unsigned long length = strlen(folder);

    return strncmp(path, folder, length) == 0 && (path[length] == '/' || !path[length]);
}

static void begin_frame(const char *path, const char *mode)
{
    if (mode[0] == 'r' && mode[1] == 'b' && gettid() != parser && strcmp(path, scene) == 0) {
        parser = gettid();
        frame++;
        note('F', path, "");
    }
}

static FILE *traced(const char *name, const char *mode, opener *next)
{
    char path[LONGEST];
    FILE *file;

    pthread_mutex_lock(lock);
    if (!begin()) {
        file = next(name, mode);
    } else if (!absolute(name, path)) {
        *__errno_location() = ENAMETOOLONG;
        file = 0;
    } else if (is_own(path)) {
        file = next(name, mode);
    } else if (find(path) < 0 && is_pipe(name)) {
        file = refuse_pipe(path);
    } else if (mode[0] == 'r') {
        int changes = mode[1] == '+' || (mode[1] && mode[2] == '+');

        begin_frame(path, mode);
        file = changes ? change_file(name, mode, path, next) : read_file(name, mode, path, next);
    } else if (mode[0] == 'a') {
        file = find(path) < 0 && size_of(name) < 0 ? write_file(mode, path, next)
                                                   : change_file(name, mode, path, next);
    } else {
        file = write_file(mode, path, next);
    }
    pthread_mutex_unlock(lock);
    return file;
}

FILE *fopen(const char *name, const char *mode)
{
    static opener *next;

    if (!next)
        next = (opener *)dlsym(NEXT, "fopen");
    return traced(name, mode, next);
}

FILE *fopen64(const char *name, const char *mode)
{
    static opener *next;

    if (!next)
        next = (opener *)dlsym(NEXT, "fopen64");
    return traced(name, mode, next);
}
