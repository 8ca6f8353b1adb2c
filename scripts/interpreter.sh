# Sourced by the scripts that need several versions of Python.

interpreter() { # of a version: the one on the path, or one that pyenv has installed
    local python
    for python in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1."*/bin/python; do
        "$python" -c '' 2> /dev/null && echo "$python" && return
    done
    return 1
}
