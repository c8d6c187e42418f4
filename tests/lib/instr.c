/*
 * instr.c - stepping a process with ptrace (see instr.h).
 *
 * System calls are put into the process by pointing it at a `syscall` instruction of our own and stepping over it; its registers are
 * put back after that. So a double is made with clone, and gets another file at the address of the shared memory, without a line of
 * code in the process.
 */
#include "tests/lib/instr.h"

#include "tests/lib/proc.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef INSTR_POSSIBLE

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#define PAGE 4096
#define JUDGE_CPU_S 20
#define JUDGE_S 600            /* the machine may be busy */

__asm__(".text\n.type instr_gate, @function\ninstr_gate:\n\tsyscall\n\tnop\n.size instr_gate, 3\n");
extern const char instr_gate[];

static struct user_regs_struct registers(const struct instr *s)
{
	struct user_regs_struct regs;

	test_require(!ptrace(PTRACE_GETREGS, s->pid, NULL, &regs), "registers of %d: %s", (int)s->pid, strerror(errno));
	return regs;
}

static void set_registers(const struct instr *s, const struct user_regs_struct *regs)
{
	test_require(!ptrace(PTRACE_SETREGS, s->pid, NULL, regs), "registers of %d: %s", (int)s->pid, strerror(errno));
}

static int wait_status(const struct instr *s)
{
	int status;

	while (waitpid(s->pid, &status, __WALL) != s->pid)
		test_require(errno == EINTR, "waiting for %d: %s", (int)s->pid, strerror(errno));
	return status;
}

/* Goes on for one instruction, or (PTRACE_CONT) up to the next stop, passing over signals that mean nothing here. */
static int go(const struct instr *s, int request)
{
	int status;

	do {
		test_require(!ptrace(request, s->pid, NULL, NULL), "stepping %d: %s", (int)s->pid, strerror(errno));
		status = wait_status(s);
	} while (WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSEGV && WSTOPSIG(status) != SIGBUS);
	return status;
}

static bool trapped(int status)
{
	return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

/* A system call in the stopped process; *child gets the process that it made. */
static long call(const struct instr *s, pid_t *child, long number, const unsigned long argument[6])
{
	struct user_regs_struct before = registers(s), regs = before;
	unsigned long made = 0;
	int status;

	regs.rip = (uintptr_t)instr_gate;
	regs.rax = (unsigned long)number;
	regs.orig_rax = -1UL; /* nothing to restart */
	regs.rdi = argument[0];
	regs.rsi = argument[1];
	regs.rdx = argument[2];
	regs.r10 = argument[3];
	regs.r8 = argument[4];
	regs.r9 = argument[5];
	set_registers(s, &regs);
	for (;;) {
		status = go(s, PTRACE_SINGLESTEP);
		test_require(trapped(status), "a system call inside of %d: status %#x", (int)s->pid, (unsigned)status);
		if (status >> 16 == PTRACE_EVENT_FORK || status >> 16 == PTRACE_EVENT_CLONE) {
			ptrace(PTRACE_GETEVENTMSG, s->pid, NULL, &made);
			continue;
		}
		regs = registers(s);
		if (regs.rip == (uintptr_t)instr_gate + 2)
			break;
	}
	set_registers(s, &before);
	if (child) {
		struct instr c = {.pid = (pid_t)made};

		*child = c.pid;
		if (made) { /* it begins with a stop of its own */
			wait_status(&c);
			set_registers(&c, &before);
		}
	}
	return (long)regs.rax;
}

static void protect(struct instr *s, const uint8_t *at, size_t bytes, int prot)
{
	unsigned long argument[6] = {(uintptr_t)at, bytes, (unsigned long)prot};
	long rc = call(s, NULL, SYS_mprotect, argument);

	test_require(!rc, "mprotect in %d: %ld", (int)s->pid, rc);
}

bool instr_start(struct instr *s, void (*fn)(void *), void *arg, void *shared, size_t bytes)
{
	int status;

	memset(s, 0, sizeof(*s));
	s->shared = shared;
	s->bytes = bytes;
	s->copy = shared ? malloc((size_t)INSTR_PAGES * PAGE) : NULL;
	fflush(NULL);
	s->pid = fork();
	test_require(s->pid >= 0, "fork: %s", strerror(errno));
	if (!s->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGALRM, SIG_DFL);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(99);
		raise(SIGSTOP);
		fn(arg);
		_exit(0);
	}
	status = wait_status(s);
	if (!WIFSTOPPED(status)) {
		free(s->copy);
		return false;
	}
	test_require(!ptrace(PTRACE_SETOPTIONS, s->pid, NULL, PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL),
		"PTRACE_SETOPTIONS: %s", strerror(errno));
	if (shared)
		protect(s, s->shared, s->bytes, PROT_READ);
	s->at = registers(s).rip;
	return true;
}

/* ---- what changed ----------------------------------------------------------------------------------------------- */

/* A store to a page that was not touched before: watch it from now on. */
static void touch(struct instr *s)
{
	siginfo_t info;
	size_t offset;

	test_require(!ptrace(PTRACE_GETSIGINFO, s->pid, NULL, &info), "PTRACE_GETSIGINFO: %s", strerror(errno));
	offset = (size_t)((uint8_t *)info.si_addr - s->shared);
	test_require(s->shared && offset < s->bytes && info.si_signo == SIGSEGV, "the process got signal %d at %s for %p", info.si_signo,
		instr_place(s->at), info.si_addr);
	test_require(s->pages < INSTR_PAGES, "more than %d pages touched", INSTR_PAGES);
	offset &= ~(size_t)(PAGE - 1);
	for (unsigned i = 0; i < s->pages; i++)
		test_require(s->page[i] != offset / PAGE, "a page that may be written cannot be at %s", instr_place(s->at));
	protect(s, s->shared + offset, PAGE, PROT_READ | PROT_WRITE);
	s->page[s->pages] = (uint32_t)(offset / PAGE);
	memcpy(s->copy + (size_t)s->pages++ * PAGE, s->shared + offset, PAGE);
}

static bool counts(const struct instr *s, const uint8_t *now, const uint8_t *before)
{
	if (!s->ignore || now + PAGE <= s->ignore || now >= s->ignore + s->ignore_bytes)
		return true;
	for (unsigned i = 0; i < PAGE; i++)
		if (now[i] != before[i] && (now + i < s->ignore || now + i >= s->ignore + s->ignore_bytes))
			return true;
	return false;
}

static bool changed(struct instr *s)
{
	bool any = false;

	for (unsigned i = 0; i < s->pages; i++) {
		uint8_t *now = s->shared + (size_t)s->page[i] * PAGE, *before = s->copy + (size_t)i * PAGE;

		if (!memcmp(now, before, PAGE))
			continue;
		any |= counts(s, now, before);
		memcpy(before, now, PAGE);
	}
	return any;
}

/* ---- stepping --------------------------------------------------------------------------------------------------- */

/* Length of a repeated string instruction, else 0. The text is the same in both processes. */
static unsigned repeated(uint64_t at)
{
	const uint8_t *p = (const uint8_t *)at;
	unsigned n = 0;

	while (p[n] == 0xf2 || p[n] == 0xf3 || p[n] == 0x66 || (n && (p[n] & 0xf0) == 0x40))
		n++;
	if (!n || (p[0] != 0xf2 && p[0] != 0xf3 && p[1] != 0xf3))
		return 0;
	return (p[n] >= 0xa4 && p[n] <= 0xa7) || (p[n] >= 0xaa && p[n] <= 0xaf) ? n + 1 : 0;
}

/*
 * The clock of the vdso reads again when the kernel has moved it meanwhile, which it always has when others worked between two
 * instructions; and it touches nothing that is shared. So a call of it is one instruction.
 */
static bool in_vdso(uint64_t at)
{
	static uint64_t low, high;
	char line[256];
	FILE *f;

	if (!high && (f = fopen("/proc/self/maps", "r"))) {
		high = 1;
		while (fgets(line, sizeof(line), f))
			if (strstr(line, "[vdso]"))
				sscanf(line, "%" SCNx64 "-%" SCNx64, &low, &high);
		fclose(f);
	}
	return at >= low && at < high;
}

static bool is_syscall(uint64_t at)
{
	const uint8_t *p = (const uint8_t *)at;

	return p[0] == 0x0f && p[1] == 0x05;
}

static long poke(const struct instr *s, uint64_t at)
{
	long text = ptrace(PTRACE_PEEKTEXT, s->pid, (void *)at, NULL);

	test_require(!ptrace(PTRACE_POKETEXT, s->pid, (void *)at, (void *)((text & ~0xffL) | 0xcc)), "PTRACE_POKETEXT: %s",
		strerror(errno));
	return text;
}

static void unpoke(const struct instr *s, uint64_t at, long text)
{
	struct user_regs_struct regs = registers(s);

	ptrace(PTRACE_POKETEXT, s->pid, (void *)at, (void *)text);
	if (regs.rip == at + 1) {
		regs.rip = at;
		set_registers(s, &regs);
	}
}

/* True if it goes on; false: exit(0). */
static bool still_there(const struct instr *s, int status)
{
	test_require(!WIFSTOPPED(status) || WSTOPSIG(status) == SIGTRAP, "the process got signal %d at %s", WSTOPSIG(status),
		instr_place(s->at));
	test_require(!WIFSIGNALED(status), "the process was ended by signal %d at %s", WTERMSIG(status), instr_place(s->at));
	test_require(!WIFEXITED(status) || !WEXITSTATUS(status), "the process failed (exit code %d)", WEXITSTATUS(status));
	return WIFSTOPPED(status);
}

/* Where what counts as one instruction ends, if it is more than one step: 0 = it is not. */
static uint64_t end_of(const struct instr *s)
{
	unsigned length = repeated(s->at);
	struct user_regs_struct regs;

	if (length)
		return s->at + length;
	if (!in_vdso(s->at))
		return 0;
	regs = registers(s); /* at its entry: the way back is on top of the stack */
	return (uint64_t)ptrace(PTRACE_PEEKDATA, s->pid, (void *)regs.rsp, NULL);
}

/* It made a thread or a child, which goes on untraced. */
static bool made_another(const struct instr *s, int status)
{
	struct instr other = {0};
	unsigned long pid = 0;

	if (!trapped(status) || (status >> 16 != PTRACE_EVENT_CLONE && status >> 16 != PTRACE_EVENT_FORK))
		return false;
	ptrace(PTRACE_GETEVENTMSG, s->pid, NULL, &pid);
	other.pid = (pid_t)pid;
	wait_status(&other);
	ptrace(PTRACE_DETACH, other.pid, NULL, NULL);
	return true;
}

static int step_once(struct instr *s)
{
	int status;

	for (;;) {
		uint64_t to = end_of(s);

		if (to) {
			long text = poke(s, to);

			status = go(s, PTRACE_CONT);
			if (WIFSTOPPED(status))
				unpoke(s, to, text);
		} else {
			status = go(s, PTRACE_SINGLESTEP);
		}
		if (made_another(s, status))
			continue;
		if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGSEGV)
			return status;
		touch(s);
	}
}

enum instr_event instr_step(struct instr *s)
{
	bool system_call = is_syscall(s->at), any;
	int status = step_once(s);

	s->steps++;
	if (!still_there(s, status)) {
		s->pid = 0;
		free(s->copy);
		s->copy = NULL;
		return INSTR_ENDED;
	}
	s->at = registers(s).rip;
	any = changed(s);
	s->changes += any;
	return system_call ? INSTR_SYSCALL : any ? INSTR_CHANGED : INSTR_SAME;
}

bool instr_run_to(struct instr *s, uint64_t address, unsigned passage)
{
	while (passage) {
		long text;
		int status;

		if (s->at == address) { /* off it first */
			status = go(s, PTRACE_SINGLESTEP);
			if (!still_there(s, status))
				return false;
			s->at = registers(s).rip;
			continue;
		}
		text = poke(s, address);
		status = go(s, PTRACE_CONT);
		if (!still_there(s, status)) {
			s->pid = 0;
			return false;
		}
		unpoke(s, address, text);
		s->at = registers(s).rip;
		passage -= s->at == address;
	}
	return true;
}

void instr_kill(struct instr *s)
{
	if (s->pid) {
		kill(s->pid, SIGKILL);
		while (WIFSTOPPED(wait_status(s)))
			;
	}
	s->pid = 0;
	free(s->copy);
	s->copy = NULL;
}

/* ---- doubles ---------------------------------------------------------------------------------------------------- */

void instr_branch(struct instr *s, struct instr *copy, int fd)
{
	unsigned long clone[6] = {CLONE_PARENT | SIGCHLD};
	unsigned long map[6] = {(uintptr_t)s->shared, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, (unsigned long)fd, 0};
	long rc;

	*copy = (struct instr){.at = s->at};
	rc = call(s, &copy->pid, SYS_clone, clone);
	test_require(rc > 0 && copy->pid, "clone inside of %d: %ld", (int)s->pid, rc);
	rc = call(copy, NULL, SYS_mmap, map);
	test_require((void *)rc == (void *)s->shared, "mmap inside of the double: %ld", rc);
}

void instr_release(struct instr *s)
{
	test_require(!ptrace(PTRACE_DETACH, s->pid, NULL, NULL), "PTRACE_DETACH: %s", strerror(errno));
}

bool instr_wait(struct instr *s, bool block, int *status)
{
	pid_t got = waitpid(s->pid, status, __WALL | (block ? 0 : WNOHANG));

	test_require(got >= 0 || errno == EINTR, "waiting for %d: %s", (int)s->pid, strerror(errno));
	return got == s->pid;
}

/* ---- judges ----------------------------------------------------------------------------------------------------- */

pid_t instr_judge(void (*fn)(void *), void *arg)
{
	struct rlimit limit = {JUDGE_CPU_S, JUDGE_CPU_S + 1};
	pid_t pid;

	fflush(NULL);
	pid = fork();
	test_require(pid >= 0, "fork: %s", strerror(errno));
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGALRM, SIG_DFL);
	alarm(JUDGE_S);
	setrlimit(RLIMIT_CPU, &limit);
	fn(arg);
	fflush(NULL);
	_exit(0);
}

bool instr_judged(pid_t pid, bool block, int *status)
{
	pid_t got;

	while ((got = waitpid(pid, status, block ? 0 : WNOHANG)) < 0)
		test_require(errno == EINTR, "waiting for %d: %s", (int)pid, strerror(errno));
	return got == pid;
}

bool instr_chosen(const char *name, uint64_t *step)
{
	const char *wanted = getenv("PPDB_INSTR"), *colon = wanted ? strchr(wanted, ':') : NULL;
	size_t n = !wanted ? 0 : colon ? (size_t)(colon - wanted) : strlen(wanted);

	*step = colon ? strtoull(colon + 1, NULL, 10) : 0;
	return !wanted || (strlen(name) == n && !strncmp(name, wanted, n));
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

struct symbols {
	const char *file;
	const Elf64_Sym *table;
	size_t count;
	const char *names;
	uintptr_t base;
};

static int first_object(struct dl_phdr_info *info, size_t size, void *base)
{
	(void)size;
	*(uintptr_t *)base = info->dlpi_addr;
	return 1;
}

static const struct symbols *symbols(void)
{
	static struct symbols s;
	const Elf64_Ehdr *e;
	const Elf64_Shdr *section;
	off_t size;
	int fd;

	if (s.file)
		return &s;
	s.file = "/proc/self/exe";
	fd = open(s.file, O_RDONLY | O_CLOEXEC);
	size = lseek(fd, 0, SEEK_END);
	e = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (e == MAP_FAILED)
		return &s;
	dl_iterate_phdr(first_object, &s.base);
	section = (const Elf64_Shdr *)((const uint8_t *)e + e->e_shoff);
	for (unsigned i = 0; i < e->e_shnum; i++)
		if (section[i].sh_type == SHT_SYMTAB) {
			s.table = (const Elf64_Sym *)((const uint8_t *)e + section[i].sh_offset);
			s.count = section[i].sh_size / sizeof(*s.table);
			s.names = (const char *)e + section[section[i].sh_link].sh_offset;
		}
	return &s;
}

const char *instr_place(uint64_t address)
{
	static char text[160];
	const struct symbols *s = symbols();
	Dl_info info;

	for (size_t i = 0; i < s->count; i++) {
		const Elf64_Sym *y = &s->table[i];

		if (ELF64_ST_TYPE(y->st_info) == STT_FUNC && address - s->base - y->st_value < y->st_size) {
			snprintf(text, sizeof(text), "%s+%#llx", s->names + y->st_name,
				(unsigned long long)(address - s->base - y->st_value));
			return text;
		}
	}
	if (dladdr((void *)address, &info) && info.dli_fname)
		snprintf(text, sizeof(text), "%s (%s+%#llx)", info.dli_sname ? info.dli_sname : "?", info.dli_fname,
			(unsigned long long)(address - (uintptr_t)info.dli_fbase));
	else
		snprintf(text, sizeof(text), "%#llx", (unsigned long long)address);
	return text;
}

#endif
