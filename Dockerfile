# The controller's image: only its own dependencies, no compiler, no pip, not root. BASE is any image with Python 3.11 or
# later as `python3`, with its venv module; pin it by digest where you build for others. docs/install.md says more.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
# For places that do not reach pip's usual index; they are in no stage that is kept.
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CERT
WORKDIR /src
COPY requirements/controller.lock requirements/image.lock requirements/
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/lagcast \
    && /opt/build/bin/python -m pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/image.lock \
    && /opt/build/bin/python -m pip --python /opt/lagcast/bin/python install --no-cache-dir --require-hashes \
        --only-binary :all: -r requirements/controller.lock \
    # What only their makers run; statsmodels' and pandas' alone are 60 MB.
    && find /opt/lagcast -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} +
COPY pyproject.toml README.md LICENSE ./
COPY scaler scaler
COPY forecasting forecasting
COPY simulations simulations
COPY manifests/base/rbac.yaml manifests/base/
RUN /opt/build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels . \
    && /opt/build/bin/python -m pip --python /opt/lagcast/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl \
    # The lab starts servers; it is for development.
    && find /opt/lagcast -type d -path '*/site-packages/simulations/lab' -prune -exec rm -rf {} + \
    && /opt/build/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON \
        -o /opt/lagcast/sbom.cdx.json /opt/lagcast/bin/python

# `make kind-demo`: a service to scale, and its load.
FROM ${BASE} AS demo
COPY --from=build /opt/lagcast /opt/lagcast
COPY simulations /opt/demo/simulations
ENV PATH=/opt/lagcast/bin:$PATH HOME=/tmp PYTHONPATH=/opt/demo PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["python", "-m"]

FROM ${BASE} AS controller
LABEL org.opencontainers.image.title="Lagcast" \
    org.opencontainers.image.description="Scales Kafka-fed AI inference services on Kubernetes before their load arrives" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/lagcast /opt/lagcast
# HOME: for what libraries keep of their own accord; its user has none.
ENV PATH=/opt/lagcast/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["lagcast"]
CMD ["run", "--listen", "0.0.0.0:8080"]
