"""One server for all tests of a module."""

from collections.abc import Iterator

import pytest
from server_node import Node, file_objects, finish_reading, make_store, phantom_datasets, start, stop

from pneumoscope.config import Settings


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    store = make_store(folder)
    datasets = phantom_datasets()
    datasets[0].add_new(0x00091010, "OB", bytes(range(256)) * 10)
    datasets[0].private_block(0x0009, "TEST", create=True)
    settings = Settings(node={"folder": folder})
    file_objects(store, datasets, settings=settings)
    reading_id, delivery_id = finish_reading(store, datasets[0].StudyInstanceUID)
    process, url, log = start(folder)
    yield Node(
        settings=settings,
        store=store,
        process=process,
        url=url,
        log=log,
        datasets={dataset.SOPInstanceUID: dataset for dataset in datasets},
        reading_id=reading_id,
        delivery_id=delivery_id,
    )
    assert stop(process) == 0
    store.database.close()
    text = log.read_text()
    assert "Yamada" not in text
    assert "P-1_x" not in text
    assert "Traceback" not in text
