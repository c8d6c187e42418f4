/*
 * criterion_tsan.c - lets Criterion 2.4.1 start under ThreadSanitizer.
 *
 * Its sandbox maps an arena at an address drawn from rand_r; most of those lie where TSan allows no mapping, and the
 * run ends with "Could not initialize inheritable arena". This rand_r takes the place of libc's in the test binary and
 * draws from a window that TSan leaves to programs.
 */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#endif

int rand_r(unsigned int *seed);

#ifdef UNDER_TSAN
__attribute__((visibility("default"))) int rand_r(unsigned int *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return (int)(0x350000u + (*seed >> 8) % 0x5000u);
}
#endif
