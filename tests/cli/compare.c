/*
  compare A.h5 B.h5 - Do two result files hold the same? Every dataset bit for bit, every attribute but ranks,
  wall_time_s and command_line.

  Prints what differs; exit status 1 when something does.

  compare FILE.h5 OBJECT ATTRIBUTE - prints a number.
*/
#define H5O_info_t_vers 1
#define H5Ovisit_vers   1
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  hid_t other;
  const char *object;
  int differences;
} Comparison;

static void Differ(Comparison *c, const char *what)
{
  printf("%s differs: %s\n", c->object, what);
  c->differences++;
}

/* Reads both as they are stored and compares the bytes. */
static int SameBytes(hid_t a, hid_t b, hid_t type_a, hid_t type_b, hid_t space_a, hid_t space_b,
                     int attribute)
{
  const hssize_t n = H5Sget_simple_extent_npoints(space_a);
  const size_t size = H5Tget_size(type_a);
  int same = H5Tequal(type_a, type_b) > 0 && H5Sextent_equal(space_a, space_b) > 0;
  char *x = calloc((size_t)n + 1, size), *y = calloc((size_t)n + 1, size);

  if (same) {
    if (attribute)
      H5Aread(a, type_a, x), H5Aread(b, type_b, y);
    else
      H5Dread(a, type_a, H5S_ALL, H5S_ALL, H5P_DEFAULT, x),
          H5Dread(b, type_b, H5S_ALL, H5S_ALL, H5P_DEFAULT, y);
    same = !memcmp(x, y, (size_t)n * size);
  }
  free(x), free(y);
  return same;
}

static herr_t VisitAttribute(hid_t object, const char *name, const H5A_info_t *info, void *ctx)
{
  static const char *const apart[] = {"ranks", "wall_time_s", "command_line", "DIMENSION_LIST",
                                      "REFERENCE_LIST"};
  Comparison *c = (Comparison *)ctx;

  (void)info;
  for (size_t i = 0; i < sizeof apart / sizeof *apart; i++)
    if (!strcmp(name, apart[i])) return 0;
  if (H5Aexists_by_name(c->other, c->object, name, H5P_DEFAULT) <= 0) {
    Differ(c, name);
    return 0;
  }
  const hid_t a = H5Aopen(object, name, H5P_DEFAULT),
              b = H5Aopen_by_name(c->other, c->object, name, H5P_DEFAULT, H5P_DEFAULT);
  if (!SameBytes(a, b, H5Aget_type(a), H5Aget_type(b), H5Aget_space(a), H5Aget_space(b), 1)) Differ(c, name);
  H5Aclose(a), H5Aclose(b);
  return 0;
}

static herr_t VisitObject(hid_t file, const char *name, const H5O_info_t *info, void *ctx)
{
  Comparison *c = (Comparison *)ctx;

  c->object = name;
  if (strcmp(name, ".") && H5Lexists(c->other, name, H5P_DEFAULT) <= 0) {
    Differ(c, "only in one file");
    return 0;
  }
  const hid_t a = H5Oopen(file, name, H5P_DEFAULT);
  H5Aiterate(a, H5_INDEX_NAME, H5_ITER_INC, NULL, VisitAttribute, c);
  if (info->type == H5O_TYPE_DATASET) {
    const hid_t b = H5Dopen(c->other, name, H5P_DEFAULT);
    if (!SameBytes(a, b, H5Dget_type(a), H5Dget_type(b), H5Dget_space(a), H5Dget_space(b), 0))
      Differ(c, "values");
    H5Dclose(b);
  }
  H5Oclose(a);
  return 0;
}

static int PrintAttribute(const char *name, const char *object, const char *attribute)
{
  const hid_t file = H5Fopen(name, H5F_ACC_RDONLY, H5P_DEFAULT),
              a = file < 0 ? -1 : H5Aopen_by_name(file, object, attribute, H5P_DEFAULT, H5P_DEFAULT);
  double value;

  if (a < 0 || H5Aread(a, H5T_NATIVE_DOUBLE, &value) < 0) return 2;
  printf("%.17g\n", value);
  H5Aclose(a), H5Fclose(file);
  return 0;
}

int main(int argc, char **argv)
{
  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  if (argc == 4) return PrintAttribute(argv[1], argv[2], argv[3]);
  if (argc != 3) return 2;
  hid_t files[2];
  int differences = 0;
  for (int i = 0; i < 2; i++) {
    files[i] = H5Fopen(argv[1 + i], H5F_ACC_RDONLY, H5P_DEFAULT);
    if (files[i] < 0) return 2;
  }
  for (int i = 0; i < 2; i++) {
    Comparison c = {.other = files[1 - i]};
    H5Ovisit(files[i], H5_INDEX_NAME, H5_ITER_INC, VisitObject, &c);
    differences += c.differences;
  }
  return differences ? 1 : 0;
}
