/* Make one system call on the files of a folder fail, or cut it short. Load it with LD_PRELOAD.
 *
 * Every function that can open, read, write, list, rename or look at a file is wrapped. Calls on paths below the folder
 * that `inject_arm` was given are counted, and the chosen one is disturbed. A descriptor belongs to the path that it was
 * opened with. Calls that libc makes inside itself are not seen, so functions such as `opendir` are wrapped as well.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

/* Classes of calls; tests/faults/injection.py has the same numbers. CLOSE is of files that were open for writing. */
enum {
    OPEN = 1, CREATE = 2, READ = 4, WRITE = 8, SYNC = 16, RESIZE = 32, RENAME = 64, REMOVE = 128, MAKE = 256,
    LOOK = 512, LIST = 1024, CLOSE = 2048, MAP = 4096, LOCK = 8192, MODE = 16384, RELEASE = 32768,
};
enum { DESCRIPTORS = 65536, SHORT = -1 };

static char root[PATH_MAX];
static size_t root_length;
static int armed_classes, armed_error, armed_stays;
static long armed_at, counted;
static int log_file = -1;
static char hit[2 * PATH_MAX + 64];
static char *names[DESCRIPTORS];
static char writable[DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Count calls of these classes below `folder` from now on, and disturb the `at`-th one, or none if it is 0.
 * `error`: the number of a system error, or -1 to cut the call short. `stays`: all later calls fail too. */
void inject_arm(const char *folder, int classes, int error, long at, int stays) {
    pthread_mutex_lock(&lock);
    root_length = strlen(folder);
    memcpy(root, folder, root_length + 1);
    armed_classes = classes, armed_error = error, armed_at = at, armed_stays = stays, counted = 0, hit[0] = 0;
    pthread_mutex_unlock(&lock);
}

/* Write function and path of every counted call to a file from now on, one per line. */
void inject_log(const char *path) { log_file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600); }

void inject_disarm(void) { armed_classes = 0; }

long inject_count(void) { return counted; }

/* Function and path of the call that was disturbed; "" if none was. */
const char *inject_hit(void) { return hit; }

static int below(const char *path) {
    return strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == 0);
}

/* Write the absolute path of a call to `out`; return 0 if it is not below the folder. */
static int locate(int folder, const char *path, char *out) {
    if (!root_length) return 0;
    if (path && path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
    } else if (folder == AT_FDCWD) {
        if (!path || !getcwd(out, PATH_MAX)) return 0;
        size_t used = strlen(out);
        snprintf(out + used, PATH_MAX - used, "/%s", path);
    } else {
        if (folder < 0 || folder >= DESCRIPTORS) return 0;
        pthread_mutex_lock(&lock);
        int known = names[folder] != NULL;
        if (known) snprintf(out, PATH_MAX, "%s%s%s", names[folder], path && *path ? "/" : "", path ? path : "");
        pthread_mutex_unlock(&lock);
        if (!known) return 0;
    }
    return below(out);
}

/* Return 0 to let a call be, an error number to fail, or SHORT. */
static int disturbed(const char *function, int class, int folder, const char *path) {
    char where[PATH_MAX];
    int before = errno, result = 0;
    if ((armed_classes & class) && locate(folder, path, where)) {
        pthread_mutex_lock(&lock);
        counted++;
        if (log_file >= 0) dprintf(log_file, "%s %s\n", function, where);
        if (armed_at && (counted == armed_at || (armed_stays && counted > armed_at))) {
            if (!hit[0]) snprintf(hit, sizeof hit, "%s %s", function, where);
            result = armed_error;
        }
        pthread_mutex_unlock(&lock);
    }
    errno = before;
    return result;
}

static void remember(int descriptor, int folder, const char *path, int flags) {
    char where[PATH_MAX];
    int before = errno;
    if (descriptor < 0 || descriptor >= DESCRIPTORS) return;
    char *name = locate(folder, path, where) ? strdup(where) : NULL;
    pthread_mutex_lock(&lock);
    free(names[descriptor]);
    names[descriptor] = name;
    writable[descriptor] = (flags & O_ACCMODE) != O_RDONLY;
    pthread_mutex_unlock(&lock);
    errno = before;
}

static void forget(int descriptor) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS || !names[descriptor]) return;
    pthread_mutex_lock(&lock);
    free(names[descriptor]);
    names[descriptor] = NULL;
    pthread_mutex_unlock(&lock);
}

#define NEXT(type, name, ...) \
    static type (*next)(__VA_ARGS__); \
    if (!next) next = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)
/* Fail if the call is the chosen one. */
#define FAIL(name, class, folder, path, result) \
    do { \
        int error = disturbed(#name, class, folder, path); \
        if (error > 0) { \
            errno = error; \
            return result; \
        } \
    } while (0)
#define MODE_ARGUMENT(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode = va_arg(arguments, mode_t); \
        va_end(arguments); \
    }

#define WRAP_OPEN(name) \
    int name(const char *path, int flags, ...) { \
        MODE_ARGUMENT(flags) \
        NEXT(int, name, const char *, int, mode_t); \
        FAIL(name, flags & O_CREAT ? CREATE : OPEN, AT_FDCWD, path, -1); \
        int descriptor = next(path, flags, mode); \
        remember(descriptor, AT_FDCWD, path, flags); \
        return descriptor; \
    }
#define WRAP_OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        MODE_ARGUMENT(flags) \
        NEXT(int, name, int, const char *, int, mode_t); \
        FAIL(name, flags & O_CREAT ? CREATE : OPEN, folder, path, -1); \
        int descriptor = next(folder, path, flags, mode); \
        remember(descriptor, folder, path, flags); \
        return descriptor; \
    }
#define WRAP_FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        NEXT(FILE *, name, const char *, const char *); \
        FAIL(name, mode[0] == 'r' ? OPEN : CREATE, AT_FDCWD, path, NULL); \
        return next(path, mode); \
    }
WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPEN(__open_2)
WRAP_OPEN(__open64_2)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)
WRAP_OPENAT(__openat_2)
WRAP_OPENAT(__openat64_2)
WRAP_FOPEN(fopen)
WRAP_FOPEN(fopen64)

int close(int descriptor) {
    NEXT(int, close, int);
    int written = descriptor >= 0 && descriptor < DESCRIPTORS && writable[descriptor];
    int error = disturbed("close", written ? CLOSE : RELEASE, descriptor, NULL);
    forget(descriptor);
    int result = next(descriptor); /* Linux closes it even if it reports an error */
    if (error > 0) {
        errno = error;
        return -1;
    }
    return result;
}

/* A transfer of `count` bytes is failed, or cut to the half if it has more than one byte. */
#define TRANSFER(name, class, descriptor, count) \
    int error = disturbed(#name, class, descriptor, NULL); \
    if (error > 0) { \
        errno = error; \
        return -1; \
    } \
    if (error == SHORT && (count) > 1) count /= 2
#define WRAP_TRANSFER(name, class, pointer) \
    ssize_t name(int descriptor, pointer data, size_t count) { \
        NEXT(ssize_t, name, int, pointer, size_t); \
        TRANSFER(name, class, descriptor, count); \
        return next(descriptor, data, count); \
    }
#define WRAP_TRANSFER_AT(name, class, pointer, offset_type) \
    ssize_t name(int descriptor, pointer data, size_t count, offset_type offset) { \
        NEXT(ssize_t, name, int, pointer, size_t, offset_type); \
        TRANSFER(name, class, descriptor, count); \
        return next(descriptor, data, count, offset); \
    }
/* With several buffers, only the first ones are transferred; a single one is cut to its half. */
#define WRAP_VECTOR(name, class) \
    ssize_t name(int descriptor, const struct iovec *parts, int count) { \
        NEXT(ssize_t, name, int, const struct iovec *, int); \
        struct iovec half; \
        int error = disturbed(#name, class, descriptor, NULL); \
        if (error > 0) { \
            errno = error; \
            return -1; \
        } \
        if (error == SHORT && count > 1) return next(descriptor, parts, count / 2); \
        if (error == SHORT && count == 1 && parts[0].iov_len > 1) { \
            half = parts[0], half.iov_len /= 2; \
            return next(descriptor, &half, 1); \
        } \
        return next(descriptor, parts, count); \
    }
WRAP_TRANSFER(read, READ, void *)
WRAP_TRANSFER(write, WRITE, const void *)
WRAP_TRANSFER_AT(pread, READ, void *, off_t)
WRAP_TRANSFER_AT(pread64, READ, void *, off64_t)
WRAP_TRANSFER_AT(pwrite, WRITE, const void *, off_t)
WRAP_TRANSFER_AT(pwrite64, WRITE, const void *, off64_t)
WRAP_VECTOR(readv, READ)
WRAP_VECTOR(writev, WRITE)

ssize_t __read_chk(int descriptor, void *data, size_t count, size_t room) {
    NEXT(ssize_t, __read_chk, int, void *, size_t, size_t);
    TRANSFER(read, READ, descriptor, count);
    return next(descriptor, data, count, room);
}

ssize_t __pread64_chk(int descriptor, void *data, size_t count, off64_t offset, size_t room) {
    NEXT(ssize_t, __pread64_chk, int, void *, size_t, off64_t, size_t);
    TRANSFER(pread64, READ, descriptor, count);
    return next(descriptor, data, count, offset, room);
}

#define WRAP_SEND(name, offset_type) \
    ssize_t name(int out, int in, offset_type *offset, size_t count) { \
        NEXT(ssize_t, name, int, int, offset_type *, size_t); \
        TRANSFER(name, WRITE, out, count); \
        return next(out, in, offset, count); \
    }
WRAP_SEND(sendfile, off_t)
WRAP_SEND(sendfile64, off64_t)

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned flags) {
    NEXT(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    TRANSFER(copy_file_range, WRITE, out, count);
    return next(in, from, out, to, count, flags);
}

/* Functions of a descriptor, and functions of a path. */
#define WRAP_DESCRIPTOR(name, class, types, parameters, arguments) \
    int name parameters { \
        NEXT(int, name, types); \
        FAIL(name, class, descriptor, NULL, -1); \
        return next arguments; \
    }
#define TYPES(...) __VA_ARGS__
WRAP_DESCRIPTOR(fsync, SYNC, int, (int descriptor), (descriptor))
WRAP_DESCRIPTOR(fdatasync, SYNC, int, (int descriptor), (descriptor))
WRAP_DESCRIPTOR(ftruncate, RESIZE, TYPES(int, off_t), (int descriptor, off_t size), (descriptor, size))
WRAP_DESCRIPTOR(ftruncate64, RESIZE, TYPES(int, off64_t), (int descriptor, off64_t size), (descriptor, size))
WRAP_DESCRIPTOR(fallocate, RESIZE, TYPES(int, int, off_t, off_t), (int descriptor, int mode, off_t at, off_t size),
                (descriptor, mode, at, size))
WRAP_DESCRIPTOR(fallocate64, RESIZE, TYPES(int, int, off64_t, off64_t),
                (int descriptor, int mode, off64_t at, off64_t size), (descriptor, mode, at, size))
WRAP_DESCRIPTOR(flock, LOCK, TYPES(int, int), (int descriptor, int operation), (descriptor, operation))
WRAP_DESCRIPTOR(fchmod, MODE, TYPES(int, mode_t), (int descriptor, mode_t mode), (descriptor, mode))
WRAP_DESCRIPTOR(fstat, LOOK, TYPES(int, struct stat *), (int descriptor, struct stat *found), (descriptor, found))
WRAP_DESCRIPTOR(fstat64, LOOK, TYPES(int, struct stat64 *), (int descriptor, struct stat64 *found), (descriptor, found))
WRAP_DESCRIPTOR(__fxstat, LOOK, TYPES(int, int, struct stat *), (int version, int descriptor, struct stat *found),
                (version, descriptor, found))
WRAP_DESCRIPTOR(__fxstat64, LOOK, TYPES(int, int, struct stat64 *), (int version, int descriptor, struct stat64 *found),
                (version, descriptor, found))

#define WRAP_PATH(name, class, types, parameters, arguments) \
    int name parameters { \
        NEXT(int, name, types); \
        FAIL(name, class, AT_FDCWD, path, -1); \
        return next arguments; \
    }
WRAP_PATH(mkdir, MAKE, TYPES(const char *, mode_t), (const char *path, mode_t mode), (path, mode))
WRAP_PATH(unlink, REMOVE, const char *, (const char *path), (path))
WRAP_PATH(rmdir, REMOVE, const char *, (const char *path), (path))
WRAP_PATH(chmod, MODE, TYPES(const char *, mode_t), (const char *path, mode_t mode), (path, mode))
WRAP_PATH(rename, RENAME, TYPES(const char *, const char *), (const char *path, const char *to), (path, to))
WRAP_PATH(access, LOOK, TYPES(const char *, int), (const char *path, int mode), (path, mode))
WRAP_PATH(stat, LOOK, TYPES(const char *, struct stat *), (const char *path, struct stat *found), (path, found))
WRAP_PATH(stat64, LOOK, TYPES(const char *, struct stat64 *), (const char *path, struct stat64 *found), (path, found))
WRAP_PATH(lstat, LOOK, TYPES(const char *, struct stat *), (const char *path, struct stat *found), (path, found))
WRAP_PATH(lstat64, LOOK, TYPES(const char *, struct stat64 *), (const char *path, struct stat64 *found), (path, found))
WRAP_PATH(__xstat, LOOK, TYPES(int, const char *, struct stat *), (int version, const char *path, struct stat *found),
          (version, path, found))
WRAP_PATH(__xstat64, LOOK, TYPES(int, const char *, struct stat64 *),
          (int version, const char *path, struct stat64 *found), (version, path, found))
WRAP_PATH(__lxstat, LOOK, TYPES(int, const char *, struct stat *), (int version, const char *path, struct stat *found),
          (version, path, found))
WRAP_PATH(__lxstat64, LOOK, TYPES(int, const char *, struct stat64 *),
          (int version, const char *path, struct stat64 *found), (version, path, found))
WRAP_PATH(statvfs, LOOK, TYPES(const char *, struct statvfs *), (const char *path, struct statvfs *found),
          (path, found))
WRAP_PATH(statvfs64, LOOK, TYPES(const char *, struct statvfs64 *), (const char *path, struct statvfs64 *found),
          (path, found))

#define WRAP_AT(name, class, types, parameters, arguments) \
    int name parameters { \
        NEXT(int, name, types); \
        FAIL(name, class, folder, path, -1); \
        return next arguments; \
    }
WRAP_AT(mkdirat, MAKE, TYPES(int, const char *, mode_t), (int folder, const char *path, mode_t mode),
        (folder, path, mode))
WRAP_AT(unlinkat, REMOVE, TYPES(int, const char *, int), (int folder, const char *path, int flags),
        (folder, path, flags))
WRAP_AT(fchmodat, MODE, TYPES(int, const char *, mode_t, int), (int folder, const char *path, mode_t mode, int flags),
        (folder, path, mode, flags))
WRAP_AT(faccessat, LOOK, TYPES(int, const char *, int, int), (int folder, const char *path, int mode, int flags),
        (folder, path, mode, flags))
WRAP_AT(fstatat, LOOK, TYPES(int, const char *, struct stat *, int),
        (int folder, const char *path, struct stat *found, int flags), (folder, path, found, flags))
WRAP_AT(fstatat64, LOOK, TYPES(int, const char *, struct stat64 *, int),
        (int folder, const char *path, struct stat64 *found, int flags), (folder, path, found, flags))
WRAP_AT(statx, LOOK, TYPES(int, const char *, int, unsigned, struct statx *),
        (int folder, const char *path, int flags, unsigned mask, struct statx *found),
        (folder, path, flags, mask, found))
WRAP_AT(renameat, RENAME, TYPES(int, const char *, int, const char *),
        (int folder, const char *path, int other, const char *to), (folder, path, other, to))
WRAP_AT(renameat2, RENAME, TYPES(int, const char *, int, const char *, unsigned),
        (int folder, const char *path, int other, const char *to, unsigned flags), (folder, path, other, to, flags))

#define WRAP_LINK(name) \
    ssize_t name(const char *path, char *target, size_t size) { \
        NEXT(ssize_t, name, const char *, char *, size_t); \
        FAIL(name, LOOK, AT_FDCWD, path, -1); \
        return next(path, target, size); \
    }
WRAP_LINK(readlink)

#define WRAP_MAP(name, offset_type) \
    void *name(void *at, size_t size, int protection, int flags, int descriptor, offset_type offset) { \
        NEXT(void *, name, void *, size_t, int, int, int, offset_type); \
        if (!(flags & MAP_ANONYMOUS)) FAIL(name, MAP, descriptor, NULL, MAP_FAILED); \
        return next(at, size, protection, flags, descriptor, offset); \
    }
WRAP_MAP(mmap, off_t)
WRAP_MAP(mmap64, off64_t)

#define WRAP_FCNTL(name) \
    int name(int descriptor, int command, ...) { \
        va_list arguments; \
        va_start(arguments, command); \
        void *argument = va_arg(arguments, void *); \
        va_end(arguments); \
        NEXT(int, name, int, int, void *); \
        if (command == F_SETLK || command == F_SETLKW) FAIL(name, LOCK, descriptor, NULL, -1); \
        int result = next(descriptor, command, argument); \
        if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) remember(result, descriptor, NULL, O_RDONLY); \
        return result; \
    }
WRAP_FCNTL(fcntl)
WRAP_FCNTL(fcntl64)

DIR *opendir(const char *path) {
    NEXT(DIR *, opendir, const char *);
    FAIL(opendir, LIST, AT_FDCWD, path, NULL);
    DIR *folder = next(path);
    if (folder) remember(dirfd(folder), AT_FDCWD, path, O_RDONLY);
    return folder;
}

DIR *fdopendir(int descriptor) {
    NEXT(DIR *, fdopendir, int);
    FAIL(fdopendir, LIST, descriptor, NULL, NULL);
    return next(descriptor);
}

int closedir(DIR *folder) {
    NEXT(int, closedir, DIR *);
    forget(dirfd(folder));
    return next(folder);
}

#define WRAP_READDIR(name, type) \
    struct type *name(DIR *folder) { \
        NEXT(struct type *, name, DIR *); \
        FAIL(name, LIST, dirfd(folder), NULL, NULL); \
        return next(folder); \
    }
WRAP_READDIR(readdir, dirent)
WRAP_READDIR(readdir64, dirent64)
