# Not stencils: for the test that the build refuses it.
