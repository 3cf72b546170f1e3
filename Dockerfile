# The program and everything it needs; see docs/how_to/container.md.
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 CODESIGN_CACHE_DIR=/cache
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY codesign codesign
COPY configs configs
# Pins of the lock hold on Python 3.11 and stand aside on other versions.
RUN pip install -c requirements.lock . && rm -rf /src

RUN useradd --create-home user && mkdir /cache /work && chown user /cache /work
USER user
WORKDIR /work
VOLUME /cache
ENTRYPOINT ["codesign"]
CMD ["--help"]
