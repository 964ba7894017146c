# The controller's image: only its own dependencies, no compiler, not root. `--build-arg BASE=...` takes another base
# with Python 3.11 or later, for places that reach no registry.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY requirements/controller.lock requirements/
RUN python3 -m venv /opt/lagcast \
    && /opt/lagcast/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/controller.lock \
    && python3 -m venv /opt/build \
    && /opt/build/bin/python -m pip install --no-cache-dir 'hatchling>=1.27'
COPY pyproject.toml README.md LICENSE ./
COPY scaler scaler
COPY forecasting forecasting
COPY simulations simulations
COPY manifests/base/rbac.yaml manifests/base/
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation -w /wheels . \
    && /opt/lagcast/bin/python -m pip install --no-cache-dir --no-deps --no-index /wheels/*.whl \
    && /opt/lagcast/bin/python -m pip uninstall -y pip

FROM ${BASE}
COPY --from=build /opt/lagcast /opt/lagcast
ENV PATH=/opt/lagcast/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["lagcast"]
CMD ["run", "--config", "/etc/lagcast/scalers.yaml", "--listen", "0.0.0.0:8080"]
