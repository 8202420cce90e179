// SPDX-License-Identifier: MIT
// FUSE: a page that is read while an asynchronous direct write is under way outlives the write, so that buffered reads return
// old data for good after its completion. See fuse-stale-page.md.
//
//     gcc -O2 -pthread -o fuse-stale-page fuse-stale-page.c     (add -static for a guest)
//     ./fuse-stale-page sync|libaio [ROUNDS]           (as root; it mounts in a namespace of its own and leaves nothing)
//
// The process is its own FUSE server: a mount whose root is one regular file of a page. In each round it writes new data to
// the page with O_DIRECT. The server answers no write before it has answered a read of the old data, which is lawful, as the
// write is still under way then; so both always meet. What is read after the write completed must be new.
//
// Exit status: 0 never stale, 1 stale, 2 wrong usage or no answer.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static long page;
static volatile int *held; // the server holds a write; shared with it

static void die(const char *what)
{
	fprintf(stderr, "fuse-stale-page: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void reply(int fuse, unsigned long long unique, int error, const void *data, size_t bytes)
{
	struct fuse_out_header out = { .len = sizeof(out) + (error ? 0 : bytes), .error = -error, .unique = unique };
	struct iovec parts[] = { { &out, sizeof(out) }, { (void *)data, error ? 0 : bytes } };

	if (writev(fuse, parts, 2) < 0 && errno != ENOENT) // ENOENT: whoever asked has gone
		die("answering a request");
}

// Serves the one file until it is unmounted. A write is answered, and done, when the next read has been answered.
static void serve(int fuse)
{
	size_t room = page + (1 << 17);
	char *request = malloc(room), *file = calloc(1, page), *data = malloc(page);
	unsigned long long writer = 0;
	struct fuse_write_out written = { 0 };

	if (!request || !file || !data)
		die("malloc");
	memset(file, '.', page);
	for (;;) {
		struct pollfd ready = { .fd = fuse, .events = POLLIN };
		struct fuse_in_header *in = (void *)request;
		void *body = in + 1;

		if (poll(&ready, 1, 20000) == 0) {
			fprintf(stderr, "fuse-stale-page: nobody asked for anything for 20 s\n");
			*held = -1;
			_exit(2); // which aborts the connection: nobody waits any more
		}
		ssize_t got = read(fuse, request, room);
		if (got < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
			continue;
		if (got < 0 && errno == EPERM && usleep(1000) == 0) // not mounted yet
			continue;
		if (got < 0)
			_exit(0); // ENODEV: unmounted
		switch (in->opcode) {
		case FUSE_INIT: {
			struct fuse_init_in *init = body;
			struct fuse_init_out out = {
				.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
				.flags = init->flags & (FUSE_ASYNC_DIO | FUSE_BIG_WRITES), .max_write = page,
				.max_readahead = 0, .max_background = 16, .congestion_threshold = 12,
			};
			if (init->minor < out.minor)
				out.minor = init->minor;
			reply(fuse, in->unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_GETATTR: case FUSE_SETATTR: {
			struct fuse_attr_out out = { .attr_valid = 3600, .attr = {
				.ino = FUSE_ROOT_ID, .size = page, .blocks = page / 512, .mode = S_IFREG | 0600, .nlink = 1, .blksize = page } };
			reply(fuse, in->unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_OPEN: {
			struct fuse_open_out out = { .open_flags = FOPEN_KEEP_CACHE };
			reply(fuse, in->unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_WRITE: {
			struct fuse_write_in *write = body;
			if (write->offset != 0 || write->size != page) {
				reply(fuse, in->unique, EINVAL, NULL, 0);
				break;
			}
			memcpy(data, write + 1, page);
			writer = in->unique;
			written.size = page;
			*held = 1;
			break;
		}
		case FUSE_READ:
			reply(fuse, in->unique, 0, file, page);
			if (writer) {
				memcpy(file, data, page);
				*held = 0;
				reply(fuse, writer, 0, &written, sizeof(written));
				writer = 0;
			}
			break;
		case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT:
			break;
		case FUSE_FLUSH: case FUSE_RELEASE: case FUSE_DESTROY: case FUSE_ACCESS:
			reply(fuse, in->unique, 0, NULL, 0);
			break;
		default:
			reply(fuse, in->unique, ENOSYS, NULL, 0);
		}
	}
}

static void *write_now(void *argument)
{
	struct iocb *cb = argument;
	return (void *)(long)pwrite(cb->aio_fildes, (void *)(unsigned long)cb->aio_buf, page, 0);
}

// Writes the page, with a buffered read beside that meets the write. Returns what the write returned.
static long write_beside_read(int direct, int buffered, char *data, char *scrap, aio_context_t context)
{
	struct iocb cb = { .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = direct, .aio_buf = (unsigned long)data, .aio_nbytes = page };
	struct iocb *cbs[] = { &cb };
	struct io_event event;
	pthread_t thread;
	void *result;

	if (context) {
		if (syscall(SYS_io_submit, context, 1, cbs) != 1)
			die("io_submit");
	} else if ((errno = pthread_create(&thread, NULL, write_now, &cb))) {
		die("pthread_create");
	}
	while (*held == 0)
		usleep(10);
	if (pread(buffered, scrap, page, 0) != page)
		die("pread");
	if (context) {
		if (syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1)
			die("io_getevents");
		return event.res;
	}
	pthread_join(thread, &result);
	return (long)result;
}

static int test(const char *path, int asynchronous, long rounds)
{
	int direct = open(path, O_RDWR | O_DIRECT), buffered = open(path, O_RDONLY);
	aio_context_t context = 0;
	char *memory;
	long stale = 0, met = 0;

	struct stat status; // the kernel must know the size: a write behind the end waits in io_submit

	if (direct < 0 || buffered < 0 || fstat(direct, &status) || status.st_size != page)
		die("open");
	if (asynchronous && syscall(SYS_io_setup, 4, &context) < 0)
		die("io_setup");
	if (posix_memalign((void **)&memory, page, 4 * page))
		die("posix_memalign");
	char *now = memory, *beside = memory + page, *after = memory + 2 * page, *disk = memory + 3 * page;
	for (long round = 0; round < rounds; round++) {
		memset(now, 'A' + round % 26, page);
		if (write_beside_read(direct, buffered, now, beside, context) != page)
			die("the write");
		met += memcmp(beside, now, page) != 0;
		if (pread(buffered, after, page, 0) != page || pread(direct, disk, page, 0) != page)
			die("pread");
		if (memcmp(disk, now, page)) {
			fprintf(stderr, "fuse-stale-page: the server lost a write\n");
			exit(2);
		}
		stale += memcmp(after, now, page) != 0;
	}
	printf("%s: %ld of %ld writes met a read; after completion, %ld buffered reads were stale, 0 direct ones\n",
	       asynchronous ? "libaio" : "sync", met, rounds, stale);
	if (met == 0) {
		fprintf(stderr, "fuse-stale-page: no write met a read: this proves nothing\n");
		exit(2);
	}
	return stale ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const char path[] = "/tmp/fuse-stale-page";
	char options[100];
	long rounds = argc > 2 ? atol(argv[2]) : 100;

	if (argc < 2 || argc > 3 || rounds < 1 || (strcmp(argv[1], "sync") && strcmp(argv[1], "libaio"))) {
		fprintf(stderr, "usage: %s sync|libaio [ROUNDS]\n", argv[0]);
		return 2;
	}
	page = sysconf(_SC_PAGESIZE);
	int fuse = open("/dev/fuse", O_RDWR);
	held = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fuse < 0 || held == MAP_FAILED)
		die("/dev/fuse");
	pid_t parent = getpid(), server = fork(); // before the namespace: the server must not hold the mount that it serves
	if (server < 0)
		die("fork");
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			serve(fuse);
		_exit(2);
	}
	snprintf(options, sizeof(options), "fd=%d,rootmode=100000,user_id=0,group_id=0", fuse);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("tmpfs", "/tmp", "tmpfs", 0, NULL))
		die("a mount namespace");
	int place = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (place < 0 || mount("fuse-stale-page", path, "fuse", MS_NOSUID | MS_NODEV, options))
		die("mounting");
	close(fuse); // the server's is the last one: should it die, the connection ends and nobody waits for it
	int status = test(path, strcmp(argv[1], "libaio") == 0, rounds);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return status;
}
