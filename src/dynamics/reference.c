/* What an exporter wrote beside the weights, and what has to come out of them again. */
#include "dynamics/problem.h"
#include <hdf5.h>
#include <math.h>
#include <string.h>

/* ---- outputs ---- */

/*
  Mean and biased variance of each layer that couples samples, over a group of so many at theta, in the place
  of running statistics: what an update leaves when the new batch has all the weight.
*/
static const char *GroupStatistics(CourantNet net, CourantEvaluator ev, const double theta[],
                                   PetscInt samples, double momenta[], double gradient[], double running[])
{
  for (PetscInt l = 0; l < net->nlayers; l++) {
    momenta[l] = net->layers[l].momentum;
    net->layers[l].momentum = 1;
  }
  memset(running, 0, sizeof(double) * (size_t)net->buffers);
  CourantEvaluatorSetRunning(ev, running);
  const char *wrong = CourantEvaluatorGradient(ev, theta, gradient);
  CourantEvaluatorSetRunning(ev, NULL);
  for (PetscInt l = 0; l < net->nlayers; l++) {
    CourantLayer *layer = &net->layers[l];
    const double n = (double)(samples * layer->in.h * layer->in.w);
    layer->momentum = momenta[l];
    for (PetscInt i = 0; CourantLayerIsCoupled(layer) && i < layer->in.c; i++)
      running[layer->buffer + layer->in.c + i] *= (n - 1) / n; /* running variances are unbiased */
  }
  return wrong;
}

/* All outputs of the batch, one statistics group. */
static PetscErrorCode GroupOutputs(CourantProblem problem, CourantEvaluator ev, const double theta[],
                                   const CourantBatch *batch, double outputs[])
{
  const CourantNet net = problem->net;
  double *momenta, *gradient, *running, loss, correct;
  const char *wrong = NULL;

  PetscFunctionBeginUser;
  PetscCall(
      PetscMalloc3(net->nlayers, &momenta, net->size + 1, &gradient, PetscMax(net->buffers, 1), &running));
  CourantEvaluatorSetBatch(ev, batch, batch->n);
  if (net->coupled) wrong = GroupStatistics(net, ev, theta, batch->n, momenta, gradient, running);
  if (!wrong) wrong = CourantEvaluatorPredict(ev, theta, running, batch, &loss, &correct, outputs);
  PetscCall(PetscFree3(momenta, gradient, running));
  if (wrong) CourantNodeError(problem->data->node, "%s", wrong);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemComputeOutputs - Outputs [n,k] of the first n training samples at theta [p], as the loss has
  them: a layer that couples samples normalises each statistics group by itself.

  Every rank does all of it by itself.
*/
PetscErrorCode CourantProblemComputeOutputs(CourantProblem problem, const double theta[], PetscInt n,
                                            double outputs[])
{
  const size_t k = CourantShapeSize(problem->net->out);
  const PetscInt all = problem->data->n,
                 group = problem->net->coupled ? PetscMin(problem->net->group, all) : PetscMin(n, all);
  const CourantEvaluatorSettings settings = {
      .threads = (int)problem->threads, .memory = problem->memory / 4, .samples = group};
  CourantEvaluator ev;
  PetscInt *samples;
  double *found;

  PetscFunctionBeginUser;
  PetscCheck(n >= 0 && n <= all, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "%d samples of %d", (int)n, (int)all);
  PetscCall(CourantEvaluatorCreate(problem->net, problem->data, problem->backend, &settings, &ev));
  PetscCall(PetscMalloc2(all, &samples, (size_t)group * k, &found));
  for (PetscInt i = 0; i < all; i++) samples[i] = i;
  for (PetscInt first = 0; first < n; first += group) {
    const CourantBatch batch = {
        .data = problem->data, .n = PetscMin(group, all - first), .samples = samples + first};
    PetscCall(GroupOutputs(problem, ev, theta, &batch, found));
    memcpy(outputs + (size_t)first * k, found, sizeof(double) * (size_t)PetscMin(batch.n, n - first) * k);
  }
  PetscCall(PetscFree2(samples, found));
  PetscCall(CourantEvaluatorDestroy(&ev));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Loss and norm of its gradient at theta. Collective. */
static PetscErrorCode LossAndGradientNorm(CourantProblem problem, const double theta[], double *loss,
                                          double *norm)
{
  const PetscInt p = problem->net->size;
  CourantEvaluatorSettings settings = {.threads = (int)problem->threads, .memory = problem->memory / 2};
  CourantEvaluator ev;
  double sum = 0;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(problem->comm, &settings.rank));
  PetscCallMPI(MPI_Comm_size(problem->comm, &settings.size));
  PetscCall(CourantEvaluatorCreate(problem->net, problem->data, problem->backend, &settings, &ev));
  PetscCall(CourantEvaluatorRun(ev, 0, theta, NULL, problem->comm, problem->result));
  PetscCall(CourantEvaluatorDestroy(&ev));
  for (PetscInt i = 0; i < p; i++) sum += problem->result[i] * problem->result[i];
  *loss = problem->result[p];
  *norm = sqrt(sum);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the group `reference` of a weights file ---- */

typedef struct {
  double loss, gradient_norm;
  PetscInt n;                       /* samples whose outputs are there */
  double *outputs;                  /* [n,k] */
  double samples, statistics_batch; /* that all of it is over; NaN: not said */
} Reference;

static double Attribute(hid_t group, const char *name)
{
  double value = NAN;

  if (H5Aexists(group, name) <= 0) return value;
  const hid_t attribute = H5Aopen(group, name, H5P_DEFAULT);
  if (H5Aread(attribute, H5T_NATIVE_DOUBLE, &value) < 0) value = NAN;
  H5Aclose(attribute);
  return value;
}

/* A dataset [n,k], or a single number where k is 0; *values is NULL where there is none of this shape. */
static PetscErrorCode ReadNumbers(hid_t group, const char *name, hsize_t k, PetscInt *n, double **values)
{
  hsize_t dims[2] = {1, 0};

  PetscFunctionBeginUser;
  *values = NULL;
  if (H5Lexists(group, name, H5P_DEFAULT) <= 0) PetscFunctionReturn(PETSC_SUCCESS);
  const hid_t dataset = H5Dopen(group, name, H5P_DEFAULT);
  if (dataset < 0) PetscFunctionReturn(PETSC_SUCCESS);
  const hid_t space = H5Dget_space(dataset);
  const int rank = H5Sget_simple_extent_ndims(space);
  if (rank == (k ? 2 : 0)) {
    if (k) H5Sget_simple_extent_dims(space, dims, NULL);
    if (dims[1] == k && dims[0] <= PETSC_MAX_INT) PetscCall(PetscMalloc1(dims[0] * PetscMax(k, 1), values));
  }
  H5Sclose(space);
  *n = (PetscInt)dims[0];
  if (*values && H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, *values) < 0)
    PetscCall(PetscFree(*values));
  H5Dclose(dataset);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadReference(CourantProblem problem, const char *name, hid_t group, Reference *r)
{
  const hsize_t k = CourantShapeSize(problem->net->out);
  double *loss, *norm;
  PetscInt one;

  PetscFunctionBeginUser;
  r->samples = Attribute(group, "samples");
  r->statistics_batch = Attribute(group, "statistics_batch");
  PetscCall(ReadNumbers(group, "loss", 0, &one, &loss));
  PetscCall(ReadNumbers(group, "gradient_norm", 0, &one, &norm));
  PetscCall(ReadNumbers(group, "logits", k, &r->n, &r->outputs));
  if (loss) r->loss = *loss;
  if (norm) r->gradient_norm = *norm;
  const PetscBool whole = loss && norm && r->outputs ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscFree(loss));
  PetscCall(PetscFree(norm));
  if (!whole)
    CourantNodeError(problem->weights.node,
                     "%s: expected loss [], gradient_norm [] and logits [n, %d] in its group 'reference'",
                     name, (int)k);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Why what the deck computes is meant to be something else, or NULL. */
static const char *OtherThing(CourantProblem problem, const Reference *r, char text[], size_t size)
{
  const CourantNet net = problem->net;

  if (isfinite(r->samples) && r->samples != (double)problem->data->n)
    snprintf(text, size, "it is over %.0f samples, the deck takes %d", r->samples, (int)problem->data->n);
  else if (net->coupled && isfinite(r->statistics_batch) && r->statistics_batch != (double)net->group)
    snprintf(text, size, "it is for statistics_batch %.0f, the deck has %d", r->statistics_batch,
             (int)net->group);
  else if (problem->weights.scale != 1)
    snprintf(text, size, "the deck scales the weights by %g", problem->weights.scale);
  else
    return NULL;
  return text;
}

/* |a - b| relative to b, or to `least` where that is larger; NaN counts as different. */
static double Difference(double a, double b, double least)
{
  const double d = fabs(a - b) / fmax(fabs(b), least);
  return isnan(d) ? INFINITY : d;
}

#define TOLERANCE 1e-8
#define SMALL     1e-5 /* a loss or gradient below this has as many digits as one of this size */

static PetscErrorCode Compare(CourantProblem problem, const char *name, const Reference *r, double *worst)
{
  const size_t k = CourantShapeSize(problem->net->out), n = (size_t)r->n;
  const CourantNode node = problem->weights.node;
  double loss = NAN, norm = NAN, *outputs, largest = 1;

  PetscFunctionBeginUser;
  PetscCall(CourantWeightsFill(&problem->weights, problem->net, problem->theta));
  PetscCall(LossAndGradientNorm(problem, problem->theta, &loss, &norm));
  *worst = fmax(Difference(loss, r->loss, SMALL), Difference(norm, r->gradient_norm, SMALL));
  if (Difference(loss, r->loss, SMALL) > TOLERANCE)
    CourantNodeError(node, "%s: its reference has the loss %.12g, but this deck gives %.12g", name, r->loss,
                     loss);
  if (Difference(norm, r->gradient_norm, SMALL) > TOLERANCE)
    CourantNodeError(node, "%s: its reference has a gradient of norm %.12g, but this deck gives %.12g", name,
                     r->gradient_norm, norm);
  PetscCall(PetscMalloc1(PetscMax(n * k, 1), &outputs));
  PetscCall(CourantProblemComputeOutputs(problem, problem->theta, r->n, outputs));
  for (size_t i = 0; i < n * k; i++) largest = fmax(largest, fabs(r->outputs[i]));
  for (size_t i = 0; i < n * k; i++) {
    const double d = Difference(outputs[i], r->outputs[i], largest);
    if (d > TOLERANCE)
      CourantNodeError(node,
                       "%s: its reference has output %zu of sample %zu as %.12g, but this deck gives %.12g",
                       name, i % k, i / k, r->outputs[i], outputs[i]);
    *worst = fmax(*worst, d);
  }
  PetscCall(PetscFree(outputs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Verify(CourantProblem problem, const char *name, hid_t group)
{
  Reference r = {0};
  char why[128];
  double worst = NAN;

  PetscFunctionBeginUser;
  PetscCall(ReadReference(problem, name, group, &r));
  const char *other = OtherThing(problem, &r, why, sizeof why);
  if (!other && r.n > problem->data->n)
    CourantNodeError(problem->weights.node, "%s: its reference has outputs of %d samples, the deck has %d",
                     name, (int)r.n, (int)problem->data->n);
  if (!other) PetscCall(Compare(problem, name, &r, &worst));
  if (other)
    snprintf(problem->reference, sizeof problem->reference, "reference of %s not checked: %s", name, other);
  else
    snprintf(problem->reference, sizeof problem->reference,
             "reference of %s: loss, gradient and logits agree to %.0e", name, worst);
  PetscCall(PetscFree(r.outputs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemVerifyReference - Does the deck compute what the program computed that the weights are from?

  A weights file may hold a group `reference`, as notebooks-export/from_torch.py writes it: loss [],
  gradient_norm [] and logits [n,k] of the first samples, and as attributes the number of samples that they
  are over and the size of statistics groups. Loss and norm have to agree to 1e-8 of their size, the logits
  to 1e-8 of the largest (of 1, if that is less); a disagreement is the user's error. What was found is a
  line of CourantProblemView(). Without the group nothing happens. Collective, after CourantProblemSetUp().
*/
PetscErrorCode CourantProblemVerifyReference(CourantProblem problem)
{
  const char *name = CourantWeightsFile(&problem->weights);

  PetscFunctionBeginUser;
  if (!name) PetscFunctionReturn(PETSC_SUCCESS);
  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  const hid_t file = H5Fopen(name, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file < 0) PetscFunctionReturn(PETSC_SUCCESS); /* CourantWeightsLoad() says what is wrong */
  const hid_t group =
      H5Lexists(file, "reference", H5P_DEFAULT) > 0 ? H5Gopen(file, "reference", H5P_DEFAULT) : -1;
  const PetscErrorCode code = group >= 0 ? Verify(problem, name, group) : PETSC_SUCCESS;
  if (group >= 0) H5Gclose(group);
  H5Fclose(file);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}
