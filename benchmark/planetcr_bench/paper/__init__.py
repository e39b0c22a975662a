"""Turn runs into the tables, figures, references and LaTeX documents of a paper."""
