"""Images over the API."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.factories import CustomerFactory, ImageFactory, ImageVersionFactory, MembershipFactory

pytestmark = pytest.mark.django_db
RAW = (bytes(510) + b"\x55\xaa").ljust(64 * 1024, b"\0")


@pytest.fixture
def customer():
    return CustomerFactory()


@pytest.fixture
def administrator(customer, api_as):
    return api_as(MembershipFactory(role="customer-administrator", tenant=customer).user)


def test_everybodys_the_msps_and_ones_own_images_are_seen(customer, administrator):
    ImageVersionFactory(image=ImageFactory(name="everybodys"))
    ImageFactory(name="msps", tenant=customer.parent)
    ImageFactory(name="own", tenant=customer)
    ImageFactory(name="neighbours", tenant=CustomerFactory(parent=customer.parent))
    seen = administrator.get("/api/v1/images/").json()["results"]
    assert {image["name"] for image in seen} == {"everybodys", "msps", "own"}
    everybodys = next(image for image in seen if image["name"] == "everybodys")
    assert everybodys["latest"] == everybodys["versions"][0]["id"]
    assert everybodys["tenant"] is None


def test_an_image_by_url(customer, administrator):
    answer = administrator.post(
        "/api/v1/images/",
        {
            "tenant": customer.name,
            "name": "mine",
            "url": "https://1.1.1.1/disk.qcow2",
            "sha256": "ab" * 32,
        },
    )
    assert answer.status_code == 201, answer.json()
    assert answer.json()["versions"][0]["sha256"] == "ab" * 32


def test_a_private_url_is_a_sentence(customer, administrator):
    answer = administrator.post(
        "/api/v1/images/",
        {
            "tenant": str(customer.id),
            "name": "mine",
            "url": "http://10.0.0.1/disk.qcow2",
            "sha256": "ab" * 32,
        },
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "address_private"
    assert "upload" in answer.json()["error"]["fields"]["url"][0]


def test_an_upload(customer, administrator, media):
    answer = administrator.post(
        "/api/v1/images/upload/",
        {"tenant": str(customer.id), "name": "mine", "file": SimpleUploadedFile("d.raw", RAW)},
        format="multipart",
    )
    assert answer.status_code == 201, answer.json()
    assert answer.json()["versions"][0]["format"] == "raw"
    assert len(list(media.rglob("*.raw"))) == 1


def test_an_upload_that_is_no_disk(customer, administrator, media):
    answer = administrator.post(
        "/api/v1/images/upload/",
        {"tenant": str(customer.id), "name": "mine", "file": SimpleUploadedFile("d", b"hello")},
        format="multipart",
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "image_not_a_disk")


def test_images_of_others_are_not_ones_own_to_retire(customer, administrator):
    msps = ImageFactory(tenant=customer.parent)
    own = ImageFactory(tenant=customer)
    everybodys = ImageFactory()
    assert administrator.delete(f"/api/v1/images/{msps.id}/").status_code == 404
    assert administrator.delete(f"/api/v1/images/{everybodys.id}/").status_code == 404
    assert administrator.delete(f"/api/v1/images/{own.id}/").status_code == 204
    assert administrator.get("/api/v1/images/?retired=true").json()["results"][0]["name"]
    own.refresh_from_db()
    assert own.retired_at


def test_a_new_version_is_what_new_vms_are_made_from(customer, administrator):
    image = ImageVersionFactory(image=ImageFactory(name="own", tenant=customer)).image
    where = f"/api/v1/images/{image.id}/versions/"
    wish = {"url": "https://1.1.1.1/disk-2.qcow2", "sha256": "CD" * 32}
    answer = administrator.post(where, wish)
    assert answer.status_code == 201, answer.json()
    assert {v["number"]: v["sha256"] for v in answer.json()["versions"]}[2] == "cd" * 32
    assert answer.json()["latest"] == str(image.versions.get(number=2).id)

    again = administrator.post(where, wish)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "image_version_known")
    assert "Version 2" in again.json()["error"]["message"]
    administrator.delete(f"/api/v1/images/{image.id}/")
    refused = administrator.post(where, wish | {"sha256": "ef" * 32})
    assert refused.status_code == 400
    assert "retired" in refused.json()["error"]["message"]
    assert image.versions.count() == 2


def test_others_images_get_no_version_of_ones_own(customer, administrator):
    msps = ImageFactory(name="msps", tenant=customer.parent)
    wish = {"url": "https://1.1.1.1/disk.qcow2", "sha256": "cd" * 32}
    assert administrator.post(f"/api/v1/images/{msps.id}/versions/", wish).status_code == 404
    assert not msps.versions.exists()
