"""`python -m ros_xai`: the command without its script on the path."""

from ros_xai.cli import app

app()
