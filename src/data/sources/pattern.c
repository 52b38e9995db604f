#include "data/sources/pattern.h"

/* CourantExtentApply - Shape of a one-channel image given as size or as height and width. */
PetscErrorCode CourantExtentApply(CourantDataset data, CourantNode node, const CourantExtent *extent)
{
  PetscFunctionBeginUser;
  data->h = extent->height ? extent->height : extent->size;
  data->w = extent->width ? extent->width : extent->size;
  data->c = 1;
  if (!data->h || !data->w || (extent->size && (extent->height || extent->width)))
    CourantNodeError(node, "expected either the key 'size' or both 'height' and 'width'");
  if ((double)data->h * (double)data->w > COURANT_SAMPLE_MAX)
    CourantNodeError(node, "images of %d x %d are too large", (int)data->h, (int)data->w);
  PetscFunctionReturn(PETSC_SUCCESS);
}
