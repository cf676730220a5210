# The artifact on a CPU: `docker build -t minima_volume .`, then `docker run --rm -it minima_volume`.
# Nothing but Debian's packages and the versions of constraints.txt is installed. Data are downloaded by the first study
# that needs them; mount a folder and set DATA_DIR to keep them.
FROM python:3.12-slim-bookworm
RUN apt-get update && apt-get install --yes --no-install-recommends make git bsdextrautils && rm -rf /var/lib/apt/lists/*
WORKDIR /artifact
COPY . .
ENV UV_TORCH_BACKEND=cpu
RUN make .venv/.ready
CMD ["bash", "-c", "make quickstart && make report && exec bash"]
