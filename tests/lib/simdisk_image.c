/*
 * simdisk_image.c - the bytes of a simulated file: what is there now, what is durable, and what is pending between them.
 *
 * Images are shared and copied when one of their owners changes; so a synced file costs one copy, and a disk after a power cut
 * costs only what was pending. One thread.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/simdisk_state.h"

struct image *sim_image_new(size_t size)
{
	struct image *image = calloc(1, sizeof(*image));

	image->refs = 1;
	image->size = image->room = size;
	image->bytes = size ? calloc(1, size) : NULL;
	return image;
}

struct image *sim_image_share(struct image *image)
{
	image->refs++;
	return image;
}

void sim_image_drop(struct image *image)
{
	if (!image || --image->refs)
		return;
	free(image->bytes);
	free(image);
}

static void own(struct image **image)
{
	struct image *old = *image, *copy;

	if (old->refs == 1)
		return;
	copy = calloc(1, sizeof(*copy));
	copy->refs = 1;
	copy->size = copy->room = old->size;
	copy->bytes = old->size ? malloc(old->size) : NULL;
	if (old->size)
		memcpy(copy->bytes, old->bytes, old->size);
	sim_image_drop(old);
	*image = copy;
}

void sim_image_resize(struct image **image, size_t size)
{
	struct image *i;

	if ((*image)->size == size)
		return;
	own(image);
	i = *image;
	if (size > i->room) {
		i->bytes = realloc(i->bytes, size);
		i->room = size;
	}
	if (size > i->size)
		memset(i->bytes + i->size, 0, size - i->size);
	i->size = size;
}

void sim_image_write(struct image **image, uint64_t offset, const void *bytes, size_t size)
{
	if (!size)
		return;
	if (offset + size > (*image)->size)
		sim_image_resize(image, offset + size);
	own(image);
	memcpy((*image)->bytes + offset, bytes, size);
}

/* ---- pending ---- */

static void forget(struct inode *inode)
{
	while (inode->first) {
		struct effect *next = inode->first->next;

		free(inode->first->bytes);
		free(inode->first);
		inode->first = next;
	}
	inode->last = NULL;
}

void sim_inode_free(struct inode *inode)
{
	if (!inode)
		return;
	forget(inode);
	sim_image_drop(inode->now);
	sim_image_drop(inode->durable);
	free(inode);
}

static void push(struct inode *inode, uint64_t offset, const void *bytes, size_t size)
{
	struct effect *e = calloc(1, sizeof(*e));

	e->offset = offset;
	e->size = size;
	if (bytes) {
		e->bytes = malloc(size);
		memcpy(e->bytes, bytes, size);
	}
	if (inode->last)
		inode->last->next = e;
	else
		inode->first = e;
	inode->last = e;
}

void sim_inode_write(struct inode *inode, uint64_t offset, const void *bytes, size_t size)
{
	if (!size)
		return;
	sim_image_write(&inode->now, offset, bytes, size);
	push(inode, offset, bytes, size);
}

void sim_inode_resize(struct inode *inode, size_t size)
{
	if (inode->now->size == size)
		return;
	sim_image_resize(&inode->now, size);
	push(inode, 0, NULL, size);
}

void sim_inode_write_durable(struct inode *inode, uint64_t offset, const void *bytes, size_t size)
{
	bool same = inode->now == inode->durable && inode->now->refs == 2;

	if (!size)
		return;
	if (same && offset + size <= inode->now->size) {
		memcpy(inode->now->bytes + offset, bytes, size);
		return;
	}
	sim_image_write(&inode->now, offset, bytes, size);
	sim_image_write(&inode->durable, offset, bytes, size);
}

void sim_inode_sync(struct inode *inode, uint64_t *random)
{
	if (!inode->first)
		return;
	if (!random && !inode->diverged) {
		sim_image_drop(inode->durable);
		inode->durable = sim_image_share(inode->now);
		forget(inode);
		return;
	}
	for (struct effect *e = inode->first; e; e = e->next) {
		if (random && simdisk_random(random) & 1)
			inode->diverged = true;
		else if (e->bytes)
			sim_image_write(&inode->durable, e->offset, e->bytes, e->size);
		else
			sim_image_resize(&inode->durable, e->size);
	}
	forget(inode);
}
