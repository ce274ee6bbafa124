"""The learner's pages: plain JSON in and out, which the operator sees."""
