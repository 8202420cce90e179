// SPDX-License-Identifier: MIT
// XFS: an asynchronous direct write behind the end of a file completes in full, and is lost to a truncate that made the file
// longer meanwhile. See xfs-truncate-up.md.
//
//     gcc -O2 -o xfs-truncate-up xfs-truncate-up.c     (add -static for a guest)
//     ./xfs-truncate-up DIR [ROUNDS]
//
// Makes one file in DIR and removes it. In each round it submits a write with O_DIRECT at the end of the file by io_submit(2) and,
// before reaping it, makes the file longer than the write reaches by ftruncate(2). Whichever of the two the kernel does first,
// what was written must be in the file when both are over. A filesystem that completes such a write within io_submit(2), as
// ext4 and btrfs do, has nothing in flight then; the last figure printed tells.
//
// Exit status: 0 never lost, 1 lost, 2 wrong usage or a failed call.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 65536l // a multiple of every filesystem's block and page

static const char *path;

static void die(const char *what)
{
	fprintf(stderr, "xfs-truncate-up: %s: %s\n", what, strerror(errno));
	if (path)
		unlink(path);
	exit(2);
}

int main(int argc, char **argv)
{
	static char name[4096];
	long rounds = argc > 2 ? atol(argv[2]) : 1000, lost = 0, disk = 0, late = 0;
	aio_context_t context = 0;
	void *memory;

	if (argc < 2 || argc > 3 || rounds < 1) {
		fprintf(stderr, "usage: %s DIR [ROUNDS]\n", argv[0]);
		return 2;
	}
	if (posix_memalign(&memory, BLOCK, 2 * BLOCK))
		die("posix_memalign");
	unsigned char *data = memory, *found = data + BLOCK;
	snprintf(name, sizeof(name), "%s/xfs-truncate-up.file", argv[1]);
	int direct = open(name, O_RDWR | O_CREAT | O_EXCL | O_DIRECT, 0600);
	if (direct < 0)
		die(name);
	path = name;
	int buffered = open(name, O_RDWR);
	if (buffered < 0 || syscall(SYS_io_setup, 1, &context) < 0)
		die("open or io_setup");
	for (long round = 0; round < rounds; round++) {
		struct iocb cb = { .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = direct, .aio_buf = (unsigned long)data,
				   .aio_nbytes = BLOCK, .aio_offset = BLOCK };
		struct iocb *cbs[] = { &cb };
		struct timespec now = { 0, 0 };
		struct io_event event;

		memset(data, 1 + round % 255, BLOCK);
		if (ftruncate(buffered, 0) || ftruncate(buffered, BLOCK))
			die("ftruncate");
		if (syscall(SYS_io_submit, context, 1, cbs) != 1)
			die("io_submit");
		int over = syscall(SYS_io_getevents, context, 0, 1, &event, &now);
		if (ftruncate(buffered, 4 * BLOCK))
			die("ftruncate");
		if (over < 0 || (over == 0 && syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1))
			die("io_getevents");
		if (event.res != BLOCK) {
			errno = event.res < 0 ? -event.res : EIO;
			die("the write");
		}
		late += over == 0;
		if (pread(buffered, found, BLOCK, BLOCK) != BLOCK)
			die("pread");
		lost += memcmp(data, found, BLOCK) != 0;
		if (fsync(buffered) || pread(direct, found, BLOCK, BLOCK) != BLOCK)
			die("fsync or a direct pread");
		disk += memcmp(data, found, BLOCK) != 0;
	}
	unlink(path);
	printf("%ld of %ld completed writes were lost in the page cache, %ld on the disk; %ld were in flight when the truncate began\n",
	       lost, rounds, disk, late);
	return lost || disk ? 1 : 0;
}
