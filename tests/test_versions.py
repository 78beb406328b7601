import pytest

from elision.versions import _version, versions


@pytest.mark.parametrize("name", ["faiss", "faiss-cpu", "faiss-gpu"])
def test_the_version_of_faiss_is_recorded_under_the_name_of_whoever_packaged_it(tmp_path, monkeypatch, name):
    """conda-forge's package has the name of the library; those of PyPI say for which processor they are."""
    folder = tmp_path / f"{name.replace('-', '_')}-9.8.7.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.8.7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    _version.cache_clear()
    assert versions("search")[name] == versions("index")[name] == "9.8.7"
    _version.cache_clear()
